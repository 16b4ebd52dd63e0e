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

from eval.knn import exact_knn
from seal.checkpoint import save_tensors
from seal.config import Params
from seal.data.batches import Batches
from seal.device import torch_device
from seal.evaluations import PROBE_CLASS, PROBE_STEP, FewShotAffines, PredictionDepth
from seal.measure import Rates
from seal.models import build
from seal.planning.machine import Machine
from seal.planning.network import own_model
from seal.planning.setting import Way
from seal.planning.speed import trainer_in, training_rate
from seal.rng import stream
from seal.trainer import Trainer

SECONDS = 3.0  # of training steps, and a third of each other kind
SEEN, TUNED = 256, 64  # images in an evaluation's forward pass, and at most in a step of few-shot episodes
SAVED_FLOATS = 2_000_000
QUERIES, ROWS, FEATURES = 200, 3500, 3000  # of a search, as of smoke's blocks: selection and proof are most of it
# What benchmarks/README.md's CPU takes for a step of three linear probes of 20 classes, by which `small` goes.
SMALL_STEP = PROBE_STEP + 20 * PROBE_CLASS
START = """
import time, torch, seal.train
began = time.perf_counter()
torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
print(time.perf_counter() - began)
"""


def measure(params: Params, scratch: Path) -> Machine:
    """`scratch` is where resume states would be written."""
    model, device, training = own_model(params.model), torch_device(params.runtime), params.training
    trainer = trainer_in(params, Way(training.precision, training.channels_last), device)
    batches = trainer.data.clean
    # As an evaluation looks at it: in float32, with the layout of memory that torch has by default.
    network = build(model, trainer.data.classes, stream(0, "initialisation"), device).eval()

    start_seconds, compiler_seconds = _start_seconds()
    rates = Rates(
        trained=training_rate(trainer, SECONDS),
        measured=_measuring_rate(trainer),
        seen=_seeing_rate(network, batches),
        tuned=_tuning_rate(network, batches, min(TUNED, _images_a_step(params.fewshot_affines))),
        curved=_curving_rate(network, batches),
        searched=_searching_rate(params.prediction_depth, device),
        saved=_saving_rate(scratch),
        small=SMALL_STEP / _small_step_seconds(),
        launched=math.inf,
        compilers=1 / compiler_seconds,
    )
    return Machine(rates, start_seconds, device.type)


def _measuring_rate(trainer: Trainer) -> float:
    batches = trainer.data.clean
    trainer.model.eval()
    return len(batches.images) / _seconds_of(lambda: trainer.objective.measure(trainer.model, batches.clean()))


@torch.no_grad()
def _seeing_rate(network: nn.Module, batches: Batches) -> float:
    x = _images(batches, SEEN)
    return SEEN / _seconds_of(lambda: network(x).sum().item())


def _images_a_step(section: FewShotAffines) -> int:
    """Of all episodes together, where they fit beside one another: few images are worth as many operators as many."""
    steps = sum(math.ceil(section.n_way * shots / section.batch_size) for shots in section.shots)
    return math.ceil(section.episodes * section.n_way * sum(section.shots) / steps)


def _tuning_rate(network: nn.Module, batches: Batches, count: int) -> float:
    """By gradients of every BatchNorm's scale and shift."""
    scales = [parameter for name, parameter in network.named_parameters() if parameter.ndim == 1 and "fc" not in name]
    x, y = _images(batches, count), batches.labels.repeat(math.ceil(count / len(batches.labels)))[:count]
    network.train().requires_grad_(False)
    for scale in scales:
        scale.requires_grad_()

    def step() -> None:
        torch.autograd.grad(cross_entropy(network(x), y), scales)[0].sum().item()

    rate = count / _seconds_of(step)
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

    return len(x) / _seconds_of(product)


def _images(batches: Batches, count: int) -> Tensor:
    """float32 [count, 3, H, W] in contiguous memory, repeated where there are fewer."""
    x, _ = next(iter(batches.clean(len(batches.images))))
    return x.repeat(math.ceil(count / len(x)), 1, 1, 1)[:count].contiguous()


def _searching_rate(section: PredictionDepth, device: torch.device) -> float:
    """GFLOP of products a second, in a whole search of neighbours of random features."""
    queries = torch.randn(QUERIES, FEATURES, generator=stream(0, "queries")).to(device)
    rows = torch.randn(ROWS, FEATURES, generator=stream(0, "rows")).to(device)
    size = min(section.batch_size, 500)
    batches = [(rows[start : start + size], start) for start in range(0, ROWS, size)]

    def search() -> None:
        exact_knn(
            queries, lambda: iter(batches), section.neighbours,
            memory_mb=512, backend=section.backend, spare=section.spare, width=section.slice_width,
        )  # fmt: skip

    return 2e-9 * QUERIES * ROWS * FEATURES / _seconds_of(search)


def _saving_rate(scratch: Path) -> float:
    """Bytes a second, as a resume state is written."""
    tensors = {"state": torch.zeros(SAVED_FLOATS)}
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        return 4 * SAVED_FLOATS / _seconds_of(lambda: save_tensors(Path(folder) / "state.safetensors", tensors))


def _seconds_of(step: Callable[[], object]) -> float:
    """A step's mean; the first is not timed, and there are two at least."""
    step()
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < SECONDS / 3:
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return statistics.fmean(seconds)


def _small_step_seconds() -> float:
    """Of a linear probe's step by three rates."""
    rows, layers = torch.rand(32, 513), torch.zeros(513, 60)
    velocity, rate = torch.zeros_like(layers), torch.ones(60)

    def step() -> None:
        slope = (rows @ layers).view(32, 3, 20).softmax(2)
        velocity.addmm_(rows.T, slope.flatten(1), beta=0.9).add_(layers, alpha=1e-4)
        layers.addcmul_(velocity, rate, value=-1e-3)

    return _seconds_of(step)


def _start_seconds() -> tuple[float, float]:
    """Of a stage that imports what all do; and of a process's first torch optimizer."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True, text=True)
    of_optimizer = float(done.stdout)
    return time.perf_counter() - began - of_optimizer, of_optimizer
