"""A training loop as a user would write it, for benchmarks/training.py to stand beside the project's.

An image folder of JPEG files (made here) read by PIL, torchvision's crop and flip, a DataLoader with two workers,
torch.optim.SGD by its defaults, float32, contiguous memory.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from seal.config import Params
from seal.models import build
from seal.rng import stream
from seal.sections import BASE_ARM

CLASSES, IMAGES = 20, 800
Epoch = Callable[[], Iterator[None]]  # each call gives an iterator that trains one batch a step


def plain_loop(folder: Path, params: Params) -> Epoch:
    """`folder` gets the images."""
    training, side = params.training, params.datasets[params.source].image_size
    make_images(folder, side)
    steps = [
        transforms.RandomCrop(side, padding=training.crop_padding), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(training.mean, training.std),
    ]  # fmt: skip
    dataset = torchvision.datasets.ImageFolder(str(folder), transforms.Compose(steps))
    loader = DataLoader(dataset, training.batch_size, shuffle=True, num_workers=2, persistent_workers=True)
    model = build(params.run(BASE_ARM, 0).model, CLASSES, stream(0, "initialisation")).train()
    optimizer = torch.optim.SGD(
        model.parameters(), training.learning_rate, training.momentum, weight_decay=training.weight_decay
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)

    def epoch() -> Iterator[None]:
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            loss.item()
            yield

    return epoch


def make_images(folder: Path, side: int) -> None:
    """JPEG files with a photograph's smoothness, in one folder a class."""
    generator = stream(0, "benchmark")
    for position in range(IMAGES):
        coarse = torch.rand(1, 3, 9, 9, generator=generator)
        pixels = nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
        path = folder / f"{position % CLASSES:02d}" / f"{position}.jpeg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * 255).byte().numpy()).save(path, quality=90)


def plain_rate(epoch: Epoch, at_least_seconds: float, batch_size: int) -> float:
    """Two batches are left out: workers start, buffers are made."""
    steps = epoch()
    for _ in range(2):
        next(steps)

    count, began = 0, time.perf_counter()
    for _ in steps:
        count += 1
        if time.perf_counter() - began > at_least_seconds:
            break
    return count * batch_size / (time.perf_counter() - began)
