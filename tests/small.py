"""A training small enough for property tests: 26 images of 8x8 in 3 classes in two batches, ResNet-18 of width 2."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from seal.checkpoint import State
from seal.clock import Clock
from seal.data.batches import Batches
from seal.loop import train
from seal.rng import stream
from seal.sections import Run
from seal.trainer import Data, Trainer
from tests.strategies import numbers_of, params_with

CPU = torch.device("cpu")
MODEL = {"depth": 18, "width": 2, "stem": "small", "classifier_bias": "zero"}
TRAINING = {"epochs_per_generation": 3, "batch_size": 16, "learning_rate": 0.05, "crop_padding": 1, "flip": True}
GENERATIONS = {"num_generations": 2}
BATCHES = 2  # an epoch: of 16 images and of 10
OPTIONS = {"ascent_epochs": 1, "ascent_lr_scale": 0.5}  # of the methods that have them

# Evaluations of a moment, of the images that tests/small_project.py makes.
SMALL_FEWSHOT = {
    "targets": ["mine"],
    "n_way": 2,
    "n_query": 2,
    "shots": [1, 2],
    "episodes": 5,
    "epochs": 3,
    "batch_size": 4,
}
SMALL_HESSIAN = {
    "batch_size": 4, "batches": 2, "max_steps": 60, "power_steps": 6, "bootstrap": 50, "solvers": ["lanczos", "power"],
}  # fmt: skip


def small_arm(method: str, **changes: Any) -> dict[str, Any]:
    """An arm as params.yaml has it."""
    numbers = numbers_of(method)
    numbers |= {name: value for name, value in OPTIONS.items() if name in numbers}
    return {"method": method} | numbers | changes


def small_run(method: str = "seal", seed: int = 0, **changes: Any) -> Run:
    arms = {"arm": small_arm(method, **changes)}
    return params_with(arms=arms, model=MODEL, training=TRAINING, generations=GENERATIONS).run("arm", seed)


def small_images(split: str, count: int) -> tuple[Tensor, Tensor]:
    generator = stream(0, "small images", len(split), count)
    return torch.randint(256, (count, 8, 8, 3), dtype=torch.uint8, generator=generator), torch.arange(count) % 3


def small_data(run: Run, device: torch.device = CPU, val: int = 9) -> Data:
    """What is only measured comes in one batch: two thirds of a small training's time were forward passes of it."""
    training = run.training

    def batches(split: str, count: int, batch_size: int, augment: bool = False) -> Batches:
        images, labels = small_images(split, count)
        return Batches(
            images, labels, batch_size=batch_size, mean=training.mean, std=training.std,
            flip=training.flip and augment, crop_padding=training.crop_padding if augment else 0,
            device=device, channels_last=training.channels_last,
        )  # fmt: skip

    train = batches("train", 26, training.batch_size, augment=True)
    return Data(train, batches("train", 26, 26), batches("val", val, val), batches("test", 12, 12), 3)


class Interrupt:
    """Raises KeyboardInterrupt in place of batch number `at` (from 0); counts every batch."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.batches = at, 0

    def __call__(self, clock: Clock, size: int, loss: Tensor, correct: Tensor) -> None:
        if self.batches == self.at:
            raise KeyboardInterrupt
        self.batches += 1


def train_small(run: Run, folder: Path, at: int | None = None, resume_every: int = 1, **data: Any) -> Trainer:
    """Train a run from where its folder stands; interrupted before the end of batch `at`, if given."""
    path = folder / "state.safetensors"
    trainer = Trainer(run, small_data(run, **data), CPU)
    state = State.load(path) if path.exists() else State()
    train(trainer, state, folder, resume_every, Interrupt(at), lambda row: None)
    return trainer


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def trained(folder: Path, run: Run) -> tuple[Trainer, list[dict[str, Tensor]], State]:
    """A run's trainer, its weights at each generation's end, and its state."""
    trainer = train_small(run, folder)
    weights = [load_file(path) for path in sorted((folder / "weights").iterdir())]
    return trainer, weights, State.load(folder / "state.safetensors")


def ends(folder: Path, run: Run) -> dict[str, bytes]:
    """Weights and predictions that a run ends with, in bytes."""
    train_small(run, folder)
    return {name: data for name, data in contents(folder).items() if not name.startswith("state")}


def loop_options(method: str) -> dict[str, Any]:
    numbers = numbers_of(method)
    return numbers | {
        name: value for name, value in {"ascent_epochs": 1, "most_climbing": 0.9}.items() if name in numbers
    }
