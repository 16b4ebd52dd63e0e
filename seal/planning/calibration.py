"""How fast this machine, as busy as it is, trains the active model: some steps on random images, kept for an hour."""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from seal.config import BASE_ARM, Params
from seal.planning.costs import Network, classes
from seal.record import cpu_name, read_json, write_json

SECONDS = 3.0  # of training steps
FRESH = 3600.0  # s; after that other work on the machine may have come or gone
BATCHES = 4  # in one of its passes; the first of each is not timed, as in a training's own rate


@dataclass(frozen=True)
class Machine:
    """Rates of this machine for the active model, and the model's sizes."""

    images_per_second: float  # trained
    gflops: float  # of float32 matrix products
    start_seconds: float  # from a stage's command to its first line: Python and its imports
    network: Network


def calibrate(params: Params, scratch: Path | None = None) -> Machine:
    """Measured, or as measured within the hour for the same model, batch, images, processor and versions."""
    path = (scratch or Path(os.environ.get("SEAL_SCRATCH", "scratch"))) / "calibration.json"
    dataset = params.datasets[params.source]
    training, runtime = params.training, params.runtime
    facts: dict[str, Any] = {
        "model": params.model.model_dump(), "image_size": dataset.image_size, "classes": classes(dataset),
        "training": training.model_dump(include={"batch_size", "precision", "channels_last", "flip", "crop_padding"}),
        "runtime": runtime.model_dump(include={"device", "threads", "optimizer_backend"}),
        "environment": [os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")],
        "cpu": f"{os.cpu_count()} x {cpu_name()}",
        "torch": version("torch"),
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    known = read_json(path) if path.exists() else {}
    if key not in known or time.time() - known[key]["at"] > FRESH:
        known[key] = asdict(measure(params)) | {"at": time.time()}
        write_json(path, known)
    found = known[key]
    return Machine(**{name: value for name, value in found.items() if name not in ("network", "at")} | {
        "network": Network(**found["network"])
    })  # fmt: skip


def measure(params: Params) -> Machine:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "seal.train", "--help"], check=True, capture_output=True)
    start = time.perf_counter() - began
    import torch

    from seal.clock import Clock
    from seal.data.batches import Batches
    from seal.device import torch_device
    from seal.models import block_names
    from seal.trainer import Data, Trainer

    device, training = torch_device(params.runtime), params.training
    run, dataset = params.run(BASE_ARM, 0), params.datasets[params.source]
    size, count = dataset.image_size, training.batch_size * BATCHES
    generator = torch.Generator().manual_seed(0)
    batches = Batches(
        torch.randint(256, (count, size, size, 3), dtype=torch.uint8, generator=generator),
        torch.arange(count) % classes(dataset), batch_size=training.batch_size, mean=training.mean, std=training.std,
        flip=training.flip, crop_padding=training.crop_padding, device=device, channels_last=training.channels_last,
    )  # fmt: skip
    trainer = Trainer(run, Data(batches, batches, batches, batches, classes(dataset)), device)
    trainer.begin_epoch(Clock(1, 0))
    times: list[float] = []
    ended = 0.0

    def on_batch(clock: Clock, size: int, loss: torch.Tensor, correct: torch.Tensor) -> None:
        nonlocal ended
        loss.item()  # waits for the device
        if ended:
            times.append(time.perf_counter() - ended)
        ended = time.perf_counter()

    while sum(times) < SECONDS:
        ended = 0.0
        trainer.train_epoch(Clock(1, 0), on_batch)
    rate = training.batch_size / statistics.median(times)
    features: list[int] = []
    hooks = [
        trainer.model.get_submodule(name).register_forward_hook(lambda *call: features.append(call[2][0].numel()))
        for name in block_names(params.model).values()
    ]
    with torch.no_grad():
        trainer.model.eval()(next(iter(batches.clean()))[0][:1])
    for hook in hooks:
        hook.remove()
    parameters = sum(value.numel() for value in trainer.model.state_dict().values())
    return Machine(rate, _gflops(device), start, Network(parameters, sum(features)))


def _gflops(device: Any, side: int = 1024, rounds: int = 8) -> float:
    import torch

    a = torch.rand(side, side, device=device)
    (a @ a).sum().item()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        times.append(time.perf_counter() - began)
    return 2 * side**3 / 1e9 / statistics.median(times)
