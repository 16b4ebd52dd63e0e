"""The mirror's real images: the mini tier's list fits them, they pack as the tier asks, and targets load them."""

import csv
import io
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from seal.data.archives import DataError, open_archives
from seal.data.images import decode_image
from seal.data.layouts import below
from seal.data.places import Places
from seal.data.selection import read_list
from seal.sections import Dataset, Preprocessing, SplitFractions
from tests.fixtures_data import MINI, contents, make, mini_rows, mirror
from tests.fixtures_targets import TRUTH, dataset

__all__ = ["mirror"]


def test_the_mini_list_fits_the_images_and_their_annotations(mirror: Path) -> None:
    with open_archives([next(mirror.glob("tiny-imagenet-200.*"))]) as members:
        lines = bytes(members["tiny-imagenet-200/val/val_annotations.txt"].read()).decode().splitlines()
        wnids = sorted(bytes(members["tiny-imagenet-200/wnids.txt"].read()).decode().split())[:20]
        assert {f"tiny-imagenet-200/{file}" for file in read_list(MINI)} <= members.keys()
    of_class = defaultdict(list)
    for file, wnid in (line.split("\t")[:2] for line in lines):
        of_class[wnid].append(f"val/images/{file}")
    assert mini_rows(wnids, of_class) == MINI.read_text(encoding="utf-8")


def test_real_tiny_imagenet_by_the_mini_list(mirror: Path, tmp_path: Path) -> None:
    data = Dataset(source="tiny_imagenet", image_size=64, split="params/splits/mini.csv")
    made = make(Places(mirror, tmp_path / "archives"), data, "mini", workers=2)
    assert len(made.classes) == 20
    for split, count in {"train": 100, "val": 50, "test": 400}.items():
        assert made[split].labels.bincount().tolist() == [count] * 20
    grey = sum(bool((image[..., 0] == image[..., 1]).all()) for image in made["test"].images)
    assert grey > 0


def test_real_eurosat_by_its_first_images(mirror: Path, tmp_path: Path) -> None:
    data = Dataset(source="eurosat", image_size=64, split=SplitFractions(test=0.2, val=0.1), images_per_class=300)
    made = make(Places(mirror, tmp_path / "archives"), data, "eurosat", workers=2)
    for split, count in {"train": 210, "val": 30, "test": 60}.items():
        assert made[split].labels.bincount().tolist() == [count] * 10
    files = [*made["train"].files, *made["val"].files, *made["test"].files]
    numbers = {int(name.split("_")[1].partition(".")[0]) for name in files}
    assert numbers == set(range(1, 301))


@pytest.fixture
def real_isic(mirror: Path) -> dict[str, str]:
    """File to class, by another reader than the loader's."""
    with open_archives([mirror / "ISIC2018_Task3.tar"]) as members:
        text = bytes(members[f"{TRUTH}/{TRUTH}.csv"].read()).decode()
    header, *rows = csv.reader(io.StringIO(text))
    labels = np.array([row[1:] for row in rows], float).argmax(1)
    return {f"ISIC2018_Task3_Training_Input/{row[0]}.jpg": header[1 + k] for row, k in zip(rows, labels, strict=True)}


def test_real_isic_images(mirror: Path, tmp_path: Path, real_isic: dict[str, str]) -> None:
    data = dataset("isic_2018", image_size=64, images_per_class=60)
    pack = make(Places(mirror, tmp_path / "archives"), data, "isic", workers=2)
    assert pack.classes == ["AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC"]
    assert pack["train"].labels.bincount().tolist() == [60] * 7
    assert tuple(pack["train"].images.shape) == (420, 64, 64, 3)
    for file, (label, _) in contents(pack).items():
        assert real_isic[file] == label
    assert pack["train"].images.float().flatten(1).std(1).min() > 1  # no image is blank
    assert not pack.provenance["official"]


def test_the_mirrors_isic_is_not_taken_for_the_whole(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class AKIEC: found 80 images, expected 327"):
        make(Places(mirror, tmp_path / "archives"), dataset("isic_2018"), "isic")


def test_real_eurosat_images(mirror: Path, tmp_path: Path) -> None:
    data = Dataset(source="eurosat", image_size=64, split=SplitFractions(test=0, val=0), images_per_class=30)
    pack = make(Places(mirror, tmp_path / "archives"), data, "eurosat", workers=2)
    assert Counter(file.split("/")[0] for file in pack["train"].files) == dict.fromkeys(pack.classes, 30)
    assert len(pack.classes) == 10
    with open_archives([mirror / "EuroSAT.tar"]) as members:
        content = below(members, "2750", "EuroSAT.tar")[pack["train"].files[0]].read()
    assert np.array_equal(pack["train"].images[0], decode_image("first", content, 64, Preprocessing()))
