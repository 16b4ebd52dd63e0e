"""An official archive of invented content, where it is looked for, and no address to download it from."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from seal.data.places import Places
from seal.data.sources import SOURCES, Archive
from seal.sections import Dataset

CONTENT = bytes(range(256)) * 20_000  # 5 MB, several reads
TINY = Dataset(source="tiny_imagenet", image_size=64, split="official")


def official(content: bytes = CONTENT, url: str | None = None) -> Archive:
    return Archive("tiny-imagenet-200.zip", len(content), md5=hashlib.md5(content).hexdigest(), url=url)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("mirror", "archives"):
        (tmp_path / name).mkdir()
    return Places(tmp_path / "mirror", tmp_path / "archives")


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    """tiny_imagenet with CONTENT as its official archive, and no address to download it from."""
    monkeypatch.setitem(SOURCES, "tiny_imagenet", replace(SOURCES["tiny_imagenet"], archives=(official(),)))
