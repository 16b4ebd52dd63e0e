"""Some steps of a training, some products and a stage's start, timed: what this machine does in a second just now."""

import statistics
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

from seal.clock import Clock
from seal.config import BASE_ARM, Params
from seal.data.batches import Batches
from seal.device import torch_device
from seal.measure import NetworkSize
from seal.models import block_names
from seal.planning.counts import classes
from seal.planning.machine import Machine
from seal.trainer import Data, Trainer

SECONDS = 3.0  # of training steps
BATCHES = 4  # in one of its passes; the first of each is not timed, as in a training's own rate


def measure(params: Params) -> Machine:
    device = torch_device(params.runtime)
    batches = _random_batches(params, device)
    data = Data(batches, batches, batches, batches, classes(params.datasets[params.source]))
    trainer = Trainer(params.run(BASE_ARM, 0), data, device)

    return Machine(
        images_per_second=_images_per_second(trainer),
        gflops=_gflops(device),
        start_seconds=_start_seconds(),
        network=_size_of(trainer),
    )


def _random_batches(params: Params, device: torch.device) -> Batches:
    training, dataset = params.training, params.datasets[params.source]
    side, count = dataset.image_size, training.batch_size * BATCHES
    generator = torch.Generator().manual_seed(0)
    return Batches(
        torch.randint(256, (count, side, side, 3), dtype=torch.uint8, generator=generator),
        torch.arange(count) % classes(dataset),
        batch_size=training.batch_size, mean=training.mean, std=training.std, flip=training.flip,
        crop_padding=training.crop_padding, device=device, channels_last=training.channels_last,
    )  # fmt: skip


def _images_per_second(trainer: Trainer) -> float:
    """By the median step."""
    clock = Clock(1, 0)
    seconds: list[float] = []
    ended = 0.0

    def on_batch(clock: Clock, size: int, loss: Tensor, correct: Tensor) -> None:
        nonlocal ended
        loss.item()  # waits for the device
        if ended:
            seconds.append(time.perf_counter() - ended)
        ended = time.perf_counter()

    trainer.begin_epoch(clock)
    while sum(seconds) < SECONDS:
        ended = 0.0
        trainer.train_epoch(clock, on_batch)
    return trainer.run.training.batch_size / statistics.median(seconds)


def _gflops(device: torch.device, side: int = 1024, rounds: int = 8) -> float:
    a = torch.rand(side, side, device=device)
    (a @ a).sum().item()  # not timed

    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / 1e9 / statistics.median(seconds)


def _start_seconds() -> float:
    """Of a stage that imports what all do."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "seal.train", "--help"], check=True, capture_output=True)
    return time.perf_counter() - began


@torch.no_grad()
def _size_of(trainer: Trainer) -> NetworkSize:
    """Features by an image that passes through all blocks."""
    features: list[int] = []

    def count(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        features.append(output[0].numel())

    hooks = []
    for name in block_names(trainer.run.model).values():
        block = trainer.model.get_submodule(name)
        hooks.append(block.register_forward_hook(count))

    images, _ = next(iter(trainer.data.clean.clean()))
    trainer.model.eval()(images[:1])
    for hook in hooks:
        hook.remove()

    parameters = sum(value.numel() for value in trainer.model.state_dict().values())
    return NetworkSize(parameters, sum(features))
