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
from seal.config import Params
from seal.data.batches import Batches
from seal.device import torch_device
from seal.measure import Rates
from seal.models import build
from seal.planning.machine import Machine
from seal.planning.setting import Way
from seal.planning.speed import trainer_in, training_rate
from seal.rng import stream
from seal.trainer import Trainer

SECONDS = 3.0  # of training steps, and a third of each other kind
SEEN, TUNED = 256, 64  # images in an evaluation's forward pass, and in a step of few-shot episodes
SEARCH = 1.5  # times the bare products that a search takes: selection, proof


def measure(params: Params, scratch: Path) -> Machine:
    """`scratch` is where resume states would be written."""
    device, training = torch_device(params.runtime), params.training
    trainer = trainer_in(params, Way(training.precision, training.channels_last), device)
    batches = trainer.data.clean
    # As an evaluation looks at it: in float32, with the layout of memory that torch has by default.
    network = build(params.model, trainer.data.classes, stream(0, "initialisation"), device).eval()

    rates = Rates(
        trained=training_rate(trainer, SECONDS),
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
