"""The tables of artifact.md that repeat what the code holds say the same."""

from pathlib import Path

import pytest

from seal.data.sources import SOURCES

TEXT = (Path(__file__).parents[1] / "artifact.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "folder"])
def test_the_data_table_has_every_source_with_its_counts(name: str) -> None:
    (line,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{name}` | ") and line.count("|") == 7)
    classes, paper, ours, _, how = (cell.strip() for cell in line.split("|")[2:-1])
    source = SOURCES[name]
    assert int(classes) == source.classes
    if {"train", "test"} <= set(source.images):
        counts = [f"{source.images[split]:,}" if split in source.images else "-" for split in ("train", "val", "test")]
        assert ours == " / ".join(counts)
        assert ours == paper
    elif all_images := source.images.get(""):
        assert ours == f"{all_images:,}"
    downloaded = [archive for archive in source.archives if archive.url is not None]
    assert how.startswith("downloaded" if downloaded else "ships" if source.package else "by hand")
    if downloaded:
        assert f"{sum(archive.bytes or 0 for archive in downloaded) / 1e9:.1f} GB" in how
