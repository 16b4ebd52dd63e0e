"""A split that cannot be trained or measured on is one line, before any work."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from seal.data.pack import Pack
from seal.errors import ConfigError
from seal.training_data import check_splits
from tests.small import TRAINING, small_run

BATCH = TRAINING["batch_size"]


class Counts(dict[str, Any]):
    """A pack of so many images in each split."""

    name = "mine"


def pack(**images: int) -> Pack:
    return cast("Pack", Counts({split: SimpleNamespace(labels=range(count)) for split, count in images.items()}))


@pytest.mark.parametrize(
    ("images", "changes", "words"),
    [
        ({"train": 0, "val": 8, "test": 8}, {}, r"datasets\.mine\.split leaves no training image"),
        ({"train": 1, "val": 8, "test": 8}, {}, "leaves a last batch of one of 1 images"),
        ({"train": BATCH + 1, "val": 8, "test": 8}, {}, f"leaves a last batch of one of {BATCH + 1} images"),
        ({"train": 8, "val": 8, "test": 0}, {}, r"datasets\.mine\.split leaves no test image"),
        ({"train": 8, "val": 0, "test": 8}, {"checkpoint": "best"}, "best needs validation images"),
    ],
)
def test_too_few_images_are_said(images: dict[str, int], changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_splits(small_run(**changes), pack(**images))


@pytest.mark.parametrize("images", [{"train": 8, "val": 0, "test": 1}, {"train": BATCH + 2, "val": 1, "test": 1}])
def test_few_images_will_do(images: dict[str, int]) -> None:
    check_splits(small_run(), pack(**images))
