"""The authors' public trainer, from a clone that the reader names; benchmarks/authors_code.py compares ours with it.

Their files run as they are. What they ask of a machine is answered here: a GPU (`.cuda()` gives the CPU's tensor),
wandb (off), Tiny-ImageNet (our batches), a disk (what they would save after an epoch is given back instead). Their LLF
draws from torch's global generator, which is set to ours as a generation begins.
"""

import contextlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from seal.data.batches import Batch, Batches
from seal.errors import ConfigError
from seal.rng import stream
from seal.trainer import Data

URL = "https://github.com/amiiir-sarfi/SEAL"
Weights = dict[str, Tensor]


def commit_of(clone: Path) -> str:
    """Raises ConfigError where the folder is not a clone of the authors' code."""
    if not (clone / "core.py").is_file() or not (clone / "models/model_utils.py").is_file():
        raise ConfigError(f"{clone}: found no core.py of the authors, expected a clone: `git clone {URL} {clone}`")
    asked = subprocess.run(["git", "-C", clone, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if asked.returncode or not (clone / ".git").exists():  # else a commit of a repository around it
        raise ConfigError(f"{clone}: found no commit, expected a clone: `git clone {URL} {clone}`")
    return asked.stdout.strip()


def authors_modules(clone: Path) -> tuple[ModuleType, ModuleType]:
    """Their `core` and `config`, imported where there is neither a GPU nor wandb."""
    torch.Tensor.cuda = lambda tensor, *_: tensor  # type: ignore[method-assign, assignment]
    nn.Module.cuda = lambda module, *_: module  # type: ignore[method-assign, assignment]
    sys.modules["wandb"] = ModuleType("wandb")
    sys.path.insert(0, str(clone))
    import config  # type: ignore[import-not-found]
    import core  # type: ignore[import-not-found]

    return core, config


def train_theirs(core: Any, cfg: Any, data: Data, network: nn.Module | None, seed: int) -> list[Weights]:
    """The same of theirs, by their own loop from its first epoch to its last; of their ResNet-18 without a network."""

    class SameDraws(core.IterativeTrainer):  # type: ignore[name-defined, misc]
        def on_gen_start(self, gen: int) -> None:
            torch.set_rng_state(stream(seed, "reinitialisation", gen + 1).get_state())
            super().on_gen_start(gen)

    after: list[Weights] = []

    def keep(_: Any, checkpoint: dict[str, Any], file_name: str = "model.pt") -> None:
        if file_name == "model.pt":  # once an epoch
            after.append({name: value.clone() for name, value in checkpoint["model_state_dict"].items()})

    core.load_dataset = lambda _: (SameBatches(data.train, seed, cfg.epochs), [], None)
    core.save_checkpoint = keep
    with contextlib.redirect_stdout(io.StringIO()):
        trainer = SameDraws(cfg, network)
        trainer.fit(progressbar=False)
    return after


class SameBatches:
    """Our batches as their loader: each pass is the next epoch's."""

    def __init__(self, batches: Batches, seed: int, epochs: int) -> None:
        self.batches, self.seed, self.epochs, self.passes = batches, seed, epochs, 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        at = (self.passes // self.epochs + 1, self.passes % self.epochs)
        self.passes += 1
        yield from self.batches.epoch(*(stream(self.seed, purpose, *at) for purpose in ("order", "augmentation")))
