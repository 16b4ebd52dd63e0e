"""Images per second of the training loop, and of a plain DataLoader + PIL + torch.optim.SGD loop, side by side.

    python benchmarks/training.py [--depth 18] [--width 64] [--rounds 5] [--batches 12] [--precision float32 bfloat16]

Both train the same ResNet on the same 64x64 JPEG images (made here) in batches of 32, in turns, so that a noisy
neighbour meets both. The plain loop is what a user would write: an image folder read by PIL, torchvision's crop and
flip, a DataLoader with two workers, SGD's defaults, float32, contiguous layout. Prints medians over rounds, and ratios.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

from seal.clock import Clock
from seal.config import Run
from seal.data.batches import Batches
from seal.models import build
from seal.record import cpu_name
from seal.rng import stream
from seal.tiers import tier_params
from seal.trainer import Data, Trainer

CLASSES, IMAGES = 20, 800


def make_images(folder: Path) -> None:
    """JPEG files with a photograph's smoothness, in one folder a class."""
    generator = stream(0, "benchmark")
    for position in range(IMAGES):
        coarse = torch.rand(1, 3, 9, 9, generator=generator)
        pixels = nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
        path = folder / f"{position % CLASSES:02d}" / f"{position}.jpeg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((pixels * 255).byte().numpy()).save(path, quality=90)


def plain(folder: Path, run: Run) -> Callable[[], Iterator[None]]:
    """The plain loop: each call gives an iterator that trains one batch a step."""
    training = run.training
    steps = [
        transforms.RandomCrop(64, padding=training.crop_padding), transforms.RandomHorizontalFlip(),
        transforms.ToTensor(), transforms.Normalize(training.mean, training.std),
    ]  # fmt: skip
    dataset = torchvision.datasets.ImageFolder(str(folder), transforms.Compose(steps))
    loader = DataLoader(dataset, training.batch_size, shuffle=True, num_workers=2, persistent_workers=True)
    model = build(run.model, CLASSES, stream(0, "initialisation")).train()
    optimizer = torch.optim.SGD(
        model.parameters(), training.learning_rate, training.momentum, weight_decay=training.weight_decay
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)

    def batches() -> Iterator[None]:
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            loss.item()
            yield

    return batches


def ours(folder: Path, run: Run) -> Callable[[], Iterator[None]]:
    """The project's loop on the same images, packed."""
    dataset = torchvision.datasets.ImageFolder(str(folder), transforms.PILToTensor())
    images = torch.stack([image for image, _ in dataset]).permute(0, 2, 3, 1).contiguous()
    training = run.training
    batches = Batches(
        images, torch.tensor(dataset.targets), batch_size=training.batch_size, mean=training.mean, std=training.std,
        flip=True, crop_padding=training.crop_padding, device="cpu", channels_last=training.channels_last,
    )  # fmt: skip
    trainer = Trainer(run, Data(batches, batches, batches, batches, CLASSES), torch.device("cpu"))
    trainer.begin_epoch(Clock(1, 0))

    def steps() -> Iterator[None]:
        for x, y in batches.epoch(stream(0, "order"), stream(0, "augmentation")):
            loss, _ = trainer.step(x, y)
            loss.item()
            yield

    return steps


def rate(batches: Callable[[], Iterator[None]], count: int, batch_size: int) -> float:
    """Images per second over `count` batches, the first two left out: workers start, buffers are made."""
    steps = batches()
    for _ in range(2):
        next(steps)
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    return count * batch_size / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=18, choices=(18, 50))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=12)
    # Without AVX-512 or AMX a CPU emulates bfloat16, many times slower than float32.
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"], choices=("float32", "bfloat16"))
    arguments = parser.parse_args()
    paper = tier_params("paper").run("seal", 0)
    model = paper.model.model_copy(update={"depth": arguments.depth, "width": arguments.width})

    def variant(precision: str) -> Run:
        # On CPUs oneDNN's float32 convolutions are the faster ones in NCHW, its bfloat16 ones in NHWC.
        training = paper.training.model_copy(update={"precision": precision, "channels_last": precision == "bfloat16"})
        return paper.model_copy(update={"model": model, "training": training})

    with tempfile.TemporaryDirectory() as name:
        make_images(Path(name))
        loops = {"plain loop, float32": plain(Path(name), variant("float32"))}
        loops |= {f"ours, {precision}": ours(Path(name), variant(precision)) for precision in arguments.precision}
        rates: dict[str, list[float]] = {loop: [] for loop in loops}
        for _ in range(arguments.rounds):
            for loop, batches in loops.items():
                rates[loop].append(rate(batches, arguments.batches, paper.training.batch_size))
    machine = f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"ResNet-{arguments.depth}, width {arguments.width}, ImageNet stem, 64x64, batch {paper.training.batch_size}")
    print(f"{machine}, medians of {arguments.rounds} rounds")
    baseline = rates["plain loop, float32"]
    for loop, values in rates.items():
        pairs = [mine / theirs for mine, theirs in zip(values, baseline, strict=True)]
        spread = f"{min(values):.0f}-{max(values):.0f}"
        print(f"{loop:22} {statistics.median(values):7.1f} images/s ({spread})  {statistics.median(pairs):5.2f}x")


if __name__ == "__main__":
    main()
