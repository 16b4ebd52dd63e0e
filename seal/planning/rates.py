"""What this machine does in a second just now: some steps of each kind of work, timed, and a stage's start."""

import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from seal.checkpoint import save_tensors
from seal.clock import Clock
from seal.config import BASE_ARM, Params
from seal.data.batches import Batches
from seal.device import torch_device
from seal.measure import Rates
from seal.models import build
from seal.planning.counts import classes
from seal.planning.machine import Machine
from seal.rng import stream
from seal.trainer import Data, Trainer

SECONDS = 3.0  # of training steps, and a third of each other kind
BATCHES = 4  # in one of training's passes; the first of each is not timed, as in a training's own rate
SEEN, TUNED = 256, 64  # images in an evaluation's forward pass, and in a step of few-shot episodes
SEARCH = 1.5  # times the bare products that a search takes: selection, proof


def measure(params: Params, scratch: Path) -> Machine:
    """`scratch` is where resume states would be written."""
    device = torch_device(params.runtime)
    batches = _random_batches(params, device)
    data = Data(batches, batches, batches, batches, classes(params.datasets[params.source]))
    trainer = Trainer(params.run(BASE_ARM, 0), data, device)
    # As an evaluation looks at it: in float32, with the layout of memory that torch has by default.
    network = build(params.model, data.classes, stream(0, "initialisation"), device).eval()

    rates = Rates(
        trained=training_rate(trainer),
        measured=_measuring_rate(trainer),
        seen=_seeing_rate(network, batches),
        tuned=_tuning_rate(network, batches),
        curved=_curving_rate(network, batches),
        searched=_gflops(device) / SEARCH,
        saved=_saving_rate(scratch),
        small=1.0,
        launched=math.inf,
    )
    return Machine(rates, _start_seconds(), device.type)


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


def training_rate(trainer: Trainer, at_least: float | None = None) -> float:
    """Images per second by the median step, over `at_least` seconds."""
    clock, wanted = Clock(1, 0), SECONDS if at_least is None else at_least
    seconds: list[float] = []
    ended = 0.0

    def on_batch(clock: Clock, size: int, loss: Tensor, correct: Tensor) -> None:
        nonlocal ended
        loss.item()  # waits for the device
        if ended:
            seconds.append(time.perf_counter() - ended)
        ended = time.perf_counter()

    trainer.begin_epoch(clock)
    while sum(seconds) < wanted:
        ended = 0.0
        trainer.train_epoch(clock, on_batch)
    return trainer.run.training.batch_size / statistics.median(seconds)


def _measuring_rate(trainer: Trainer) -> float:
    batches = trainer.data.clean
    trainer.model.eval()
    return len(batches.images) / _median(lambda: trainer.objective.measure(trainer.model, batches.clean()))


@torch.no_grad()
def _seeing_rate(network: nn.Module, batches: Batches) -> float:
    x = _images(batches, SEEN)
    return SEEN / _median(lambda: network(x).sum().item())


def _tuning_rate(network: nn.Module, batches: Batches) -> float:
    """By gradients of every BatchNorm's scale and shift."""
    scales = [parameter for name, parameter in network.named_parameters() if parameter.ndim == 1 and "fc" not in name]
    x, y = _images(batches, TUNED), batches.labels.repeat(math.ceil(TUNED / len(batches.labels)))[:TUNED]
    network.train().requires_grad_(False)
    for scale in scales:
        scale.requires_grad_()

    def step() -> None:
        torch.autograd.grad(cross_entropy(network(x), y), scales)[0].sum().item()

    rate = TUNED / _median(step)
    network.eval().requires_grad_(True)
    return rate


def _curving_rate(network: nn.Module, batches: Batches) -> float:
    """By products with the Hessian of one batch."""
    parameters = list(network.parameters())
    x = _images(batches, batches.batch_size)
    loss = cross_entropy(network(x), batches.labels[: len(x)])
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)

    def product() -> None:
        torch.autograd.grad(gradients, parameters, parameters, retain_graph=True)[0].sum().item()

    return len(x) / _median(product)


def _images(batches: Batches, count: int) -> Tensor:
    """float32 [count, 3, H, W] in contiguous memory, repeated where there are fewer."""
    x, _ = next(iter(batches.clean(len(batches.images))))
    return x.repeat(math.ceil(count / len(x)), 1, 1, 1)[:count].contiguous()


def _gflops(device: torch.device, side: int = 1024) -> float:
    a = torch.rand(side, side, device=device)
    return 2 * side**3 / 1e9 / _median(lambda: (a @ a)[0, 0].item())


def _saving_rate(scratch: Path, floats: int = 2_000_000) -> float:
    """Bytes a second, as a resume state is written."""
    tensors = {"state": torch.zeros(floats)}
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        return 4 * floats / _median(lambda: save_tensors(Path(folder) / "state.safetensors", tensors))


def _median(step: Callable[[], object]) -> float:
    """Seconds of a step; the first is not timed, and there are two at least."""
    step()
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < SECONDS / 3:
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _start_seconds() -> float:
    """Of a stage that imports what all do."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "seal.train", "--help"], check=True, capture_output=True)
    return time.perf_counter() - began
