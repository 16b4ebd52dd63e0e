"""The mirror's real images: the mini tier's list fits them, and they pack as the tier asks."""

from collections import defaultdict
from pathlib import Path

from seal.data.archives import open_archives
from seal.data.fetch import Places
from seal.data.pack import SPLITS
from seal.data.selection import read_list
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import MINI, make, mini_rows, mirror

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
    numbers = {int(name.split("_")[1].partition(".")[0]) for split in SPLITS for name in made[split].files}
    assert numbers == set(range(1, 301))
