"""Small datasets in their official layouts, and the mirror of real ones where SEAL_DATA_MIRROR names it."""

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seal.data import packing
from seal.data.fetch import fetch
from seal.data.pack import SPLITS, Pack, open_pack
from seal.data.places import Places, relocate
from seal.data.sources import SOURCES
from seal.sections import Dataset

MINI = Path("params/splits/mini.csv")
OFFICIAL = Dataset(source="tiny_imagenet", image_size=8, split="official")
TAR = "tiny-imagenet-200.tar"


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The mirror's folder; a test that asks for it is skipped where there is none."""
    if not (value := os.environ.get("SEAL_DATA_MIRROR")):
        pytest.skip("needs real images: set SEAL_DATA_MIRROR")
    return Path(value)


def image_bytes(seed: int, size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "PNG") -> bytes:
    """An image of seeded noise, encoded."""
    generator = np.random.default_rng(seed)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = generator.integers(0, 256, (size[1], size[0], channels), np.uint8)
    image = Image.frombytes(mode, size, pixels.tobytes())
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def write_tar(path: Path, files: Mapping[str, bytes], compression: str = "") -> Path:
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tiny_imagenet_files(classes: int = 3, train: int = 10, val: int = 2, *, kind: str = "JPEG") -> dict[str, bytes]:
    """tiny-imagenet-200's layout with few classes; the last training image of each class is greyscale."""
    wnids = [f"n{index:08d}" for index in range(classes)]
    files = {"tiny-imagenet-200/wnids.txt": "\n".join(reversed(wnids)).encode()}
    annotations = []
    for index, wnid in enumerate(wnids):
        for image in range(train):
            mode = "L" if image == train - 1 else "RGB"
            name = f"tiny-imagenet-200/train/{wnid}/images/{wnid}_{image}.JPEG"
            files[name] = image_bytes(1000 * index + image, mode=mode, kind=kind)
        for image in range(val):
            name = f"val_{image * classes + index}.JPEG"
            files[f"tiny-imagenet-200/val/images/{name}"] = image_bytes(1000 * index + 500 + image, kind=kind)
            annotations.append(f"{name}\t{wnid}\t0\t0\t1\t1\n")
    return files | {"tiny-imagenet-200/val/val_annotations.txt": "".join(annotations).encode()}


def mini_rows(wnids: list[str], official_val: Mapping[str, list[str]], seed: int = 0) -> str:
    """params/splits/mini.csv from names alone.

    Of each class the 500 training images, ordered by the SHA-256 of "SEED:FILE", give 100 train, 50 val and 350 test
    images; the class's official validation images are test images too. `official_val`: class to their file names.
    """
    rows = []
    for wnid in wnids:
        files = [f"train/{wnid}/images/{wnid}_{image}.JPEG" for image in range(500)]
        files.sort(key=lambda file: hashlib.sha256(f"{seed}:{file}".encode()).digest())
        parts = {"train": files[:100], "val": files[100:150], "test": files[150:] + official_val[wnid]}
        rows += [f"{split},{file}" for split, names in parts.items() for file in sorted(names)]
    return "\n".join([*MINI_HEADER, "split,file", *rows, ""])


MINI_HEADER = (
    "# Tiny-ImageNet: the first 20 classes by name. Of each, the 500 training images ordered by sha256('0:' + file)",
    "# are 100 train, 50 val and 350 test images; the 50 official validation images are test images too.",
)


def silent(done: int, total: int) -> None:
    pass


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "mirror").mkdir()
    return Places(tmp_path / "mirror", tmp_path / "archives")


@pytest.fixture
def small_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """tiny_imagenet with three classes of 10 and 2 images, and no address."""
    small = replace(SOURCES["tiny_imagenet"], classes=3, per_class={"train": 10, "test": 2})
    monkeypatch.setitem(SOURCES, "tiny_imagenet", replace(small, archives=(replace(small.archives[0], url=None),)))


def make(places: Places, dataset: Dataset = OFFICIAL, name: str = "tiny", workers: int = 1, report=silent) -> Pack:
    """Fetch and pack, into folders beside the downloads."""
    target = places.downloads.parent / f"packs/{name}.safetensors"
    record = fetch(name, dataset, places, silent)
    paths = relocate(record, dataset, places)
    scratch = places.downloads.parent / "scratch"
    packing.make_pack(target, name, dataset, record, paths, scratch=scratch, workers=workers, report=report)
    return open_pack(target)


def make_tiny(places: Places, files: Mapping[str, bytes] | None = None, **arguments) -> Pack:
    write_tar(places.mirror / TAR, tiny_imagenet_files() if files is None else files)
    return make(places, **arguments)


def leftovers(places: Places) -> list[str]:
    """Everything below the packs' folder, hidden files too."""
    return sorted(path.name for path in (places.downloads.parent / "packs").glob("**/*"))


def contents(pack: Pack) -> dict[str, tuple[str, str]]:
    """File to (class, split), for everything in a pack."""
    packed = {}
    for split in SPLITS:
        for file, label in zip(pack[split].files, pack[split].labels.tolist(), strict=True):
            packed[file] = (pack.classes[label], split)
    return packed
