"""artifact.md's table of datasets, made from the sources: `python -m seal.data.table` writes it."""

from pathlib import Path

from seal.data.pack import SPLITS
from seal.data.source import Source
from seal.data.sources import SOURCES
from seal.files import atomic, with_table

ARTIFACT = Path("artifact.md")
HEADER = "| dataset | classes | images | licence | how to get it |\n|---|---|---|---|---|"


def main() -> None:
    text = with_table(ARTIFACT.read_text(encoding="utf-8"), "data", data_table())
    with atomic(ARTIFACT) as temporary:
        temporary.write_text(text, encoding="utf-8")


def data_table() -> str:
    """A row for each source that is published; a folder of the user's own is none."""
    rows = [HEADER]
    for name, source in SOURCES.items():
        if source.archives:
            cells = (f"`{name}`", str(source.classes), images(source), source.licence, how_to_get(source))
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def images(source: Source) -> str:
    """Train / val / test where the archive is split, else all."""
    official = source.official_images
    if "train" not in official:
        return f"{official['']:,}"
    return " / ".join(f"{official[split]:,}" if split in official else "-" for split in SPLITS)


def how_to_get(source: Source) -> str:
    if source.package is not None:
        return f"ships with {source.package.partition('/')[0]}"

    size_gb = sum(archive.bytes or 0 for archive in source.archives) / 1e9  # None: not published
    size = f", {size_gb:.1f} GB" if size_gb else ""
    if not source.downloads:
        return f"by hand{size}; prints how"

    unchecked = [archive.name for archive in source.archives if not archive.has_checksum]
    return f"downloaded{size}" + (f"; no checksum is published of {', '.join(unchecked)}" if unchecked else "")


if __name__ == "__main__":
    main()
