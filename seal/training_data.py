"""From a pack to the batches that a training reads; a split that cannot be trained or measured on is said before."""

from typing import TYPE_CHECKING

import torch

from seal.data.batches import Batches
from seal.data.pack import Pack
from seal.errors import ConfigError
from seal.trainer import Data

if TYPE_CHECKING:
    from seal.sections import Run


def make_data(run: "Run", pack: Pack, device: torch.device) -> Data:
    """Batches of every split on the device. Raises ConfigError where a split cannot be trained or measured on."""
    check_splits(run, pack)
    training = run.training

    def batches(name: str, augment: bool = False) -> Batches:
        split = pack[name]
        return Batches(
            split.images, split.labels, batch_size=training.batch_size, mean=training.mean, std=training.std,
            flip=training.flip and augment, crop_padding=training.crop_padding if augment else 0,
            device=device, channels_last=training.channels_last,
        )  # fmt: skip

    train = batches("train", augment=True)
    return Data(train, train.plain(), batches("val"), batches("test"), len(pack.classes))


def bytes_of(pack: Pack) -> int:
    """Of the images that a training keeps on its device."""
    return sum(pack[split].images.nbytes for split in ("train", "val", "test"))


def check_splits(run: "Run", pack: Pack) -> None:
    """Raises ConfigError where a split has too few images for what the run does with it."""
    images = {split: len(pack[split].labels) for split in ("train", "val", "test")}
    if images["train"] == 0:
        raise ConfigError(f"datasets.{pack.name}.split leaves no training image")
    if images["train"] % run.training.batch_size == 1:
        raise ConfigError(
            f"training.batch_size: {run.training.batch_size} leaves a last batch of one of {images['train']} images, "
            "which BatchNorm cannot train on; choose another"
        )
    if images["test"] == 0:
        raise ConfigError(f"datasets.{pack.name}.split leaves no test image")
    if run.generations.checkpoint == "best" and images["val"] == 0:
        raise ConfigError(
            f"generations.checkpoint: best needs validation images, and datasets.{pack.name}.split leaves none"
        )
