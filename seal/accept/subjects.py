"""What an acceptance trains and looks at: runs of any method, generated images, and whether two trainings are equal.

The core reads a run by its fields alone, so that plain values do; no parameter file is read here.
"""

import math
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

import torch
from torch import Tensor

from seal.accept.bench import Bench
from seal.data.batches import Batches
from seal.methods import options_of
from seal.options import Range, options_from, parted
from seal.trainer import Data, Trainer

if TYPE_CHECKING:
    from seal.sections import Run

CLASSES = 200  # Tiny-ImageNet's, as are 64x64 images
BATCH = 32
PAPER = (50, 64)  # depth and width of the paper's network


def networks(bench: Bench) -> list[tuple[int, int]]:
    """Depth and width of those that are timed; the last is the paper's, or stands for it."""
    return [(18, 4)] if bench.tiny else [(18, 16), (18, 64), PAPER]


def side(bench: Bench) -> int:
    """Of the images, in pixels."""
    return 32 if bench.tiny else 64  # 16 leave one pixel, where bfloat16 is refused on a CPU


def run_of(
    method: str, bench: Bench, shape: tuple[int, int], *, precision: str = "float32", channels_last: bool = True
) -> "Run":
    """Two short generations of the method at the paper's numbers of training; the method's own are `numbers`."""
    depth, width = shape
    training = SimpleNamespace(
        epochs_per_generation=2 if bench.tiny else 4, batch_size=BATCH, learning_rate=0.01, warmup_epochs=0,
        momentum=0.9, weight_decay=5e-4, label_smoothing=0.1, flip=True, crop_padding=4, precision=precision,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), channels_last=channels_last,
    )  # fmt: skip

    generations = SimpleNamespace(
        num_generations=2, schedule="per_generation", layer_threshold="layer3", reset_momentum=True,
        reinitialiser="model", checkpoint="last", kept_generations=[1, 2], on_divergence="record",
    )  # fmt: skip

    kind = options_of(method)
    options: Any = options_from(kind, numbers(kind, vars(training)), vars(training))
    model = SimpleNamespace(depth=depth, width=width, stem="imagenet", classifier_bias="zero")
    return cast("Run", SimpleNamespace(
        tier="acceptance", arm=method, seed=0, method=method, name=f"{method}-0", model=model, training=training,
        generations=generations, options=options,
    ))  # fmt: skip


def numbers(kind: type, bounds: dict[str, Any]) -> dict[str, Any]:
    """A value for each of a method's numbers: the first of a choice, the middle of a range, a little above its least
    where it has no end."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        annotation, ranges = parted(field.type)
        if get_origin(annotation) is Literal:
            values[field.name] = get_args(annotation)[0]
        elif annotation is bool:
            values[field.name] = False
        else:
            values[field.name] = annotation(_within(annotation, ranges[0], bounds))
    return values


def _within(annotation: type, allowed: Range, bounds: dict[str, Any]) -> float:
    most = allowed.limit(bounds)
    if most == math.inf:
        return allowed.least + (1 if annotation is int else 0.5)
    return (allowed.least + most) / 2


def data_of(run: "Run", bench: Bench, images: int, device: torch.device | None = None) -> Data:
    """Smooth generated images [images, side, side, 3], the same on every device; the last of them test and validate."""
    pixels, labels = generated(images, side(bench))
    training = run.training

    def batches(augment: bool, first: int = 0) -> Batches:
        return Batches(
            pixels[first:].contiguous(), labels[first:], batch_size=training.batch_size, mean=training.mean,
            std=training.std, flip=augment, crop_padding=training.crop_padding if augment else 0,
            device=device or bench.device, channels_last=training.channels_last,
        )  # fmt: skip

    train = batches(True)
    return Data(train, train.plain(), batches(False, images - 16), batches(False, images - 48), CLASSES)


def generated(images: int, pixels: int) -> tuple[Tensor, Tensor]:
    """uint8 [images, pixels, pixels, 3] and labels int64 [images]."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(images, 3, 9, 9, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (pixels, pixels), mode="bilinear")
    labels = torch.randint(CLASSES, (images,), generator=generator)
    return smooth.mul(255).byte().permute(0, 2, 3, 1).contiguous(), labels


def equal(first: Trainer, second: Trainer) -> bool:
    """Whether weights and statistics are the same bits."""
    pairs = zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    return all(torch.equal(mine.cpu(), theirs.cpu()) for mine, theirs in pairs)
