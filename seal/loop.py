"""Training by generations: the loop, from tensors to weights and rows.

The stage in train.py runs it, and so may anyone with a Trainer and a folder.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from seal.checkpoint import RESUME, State, save_tensors
from seal.clock import Clock
from seal.record import Row, atomic
from seal.resume_file import ResumeFile
from seal.rows import describe, measured, outcome, shortened
from seal.trainer import Diverged, OnBatch, Trainer

OnEpoch = Callable[[Row], None]


def train(
    trainer: Trainer, state: State, folder: Path, resume_every: int, on_batch: OnBatch, on_epoch: OnEpoch,
    *, resume_minutes: float = 0.0, made_by: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Train from where `state` stands to the run's end; `folder` keeps the resume state, weights and predictions.

    The state is written at each generation's end, and after epochs as resume_file.py says. Raises Diverged where the
    loss of a batch is not finite, or at a generation's end a loss or a weight; the row of that end stays in `state`.

    Section 3: G generations of E epochs; what each method forgets, and which side climbs, is in seal/methods.
    """
    if state.clock is not None:
        state.put(trainer.model, trainer.optimizer, trainer.names)

    with ResumeFile(folder / RESUME, resume_every, resume_minutes, made_by) as file:
        for clock in trainer.course.clocks(after=state.clock):
            rules = trainer.begin_epoch(clock, state)
            losses = trainer.train_epoch(clock, on_batch)
            row = describe(trainer, clock, rules) | losses | measured(trainer, clock)

            end_epoch(trainer, state, clock, row)
            if trainer.phases.ends_generation(clock) and not end_generation(trainer, state, folder):
                on_epoch(state.rows[-1])
                raise Diverged(clock)
            look_back(trainer, state, clock)
            if trainer.phases.ends_generation(clock) or file.due(row["global_epoch"]):
                file.write(state)

            on_epoch(state.rows[-1])


def end_epoch(trainer: Trainer, state: State, clock: Clock, row: Row) -> None:
    """Take the network into the state, as the best so far where it is that on the validation images."""
    state.clock = clock
    state.take(trainer.model, trainer.optimizer, trainer.names)
    if "val_accuracy" in row and (state.best_epoch is None or row["val_accuracy"] > state.best_epoch["val_accuracy"]):
        state.best = state.model
        state.best_epoch = {key: row[key] for key in ("generation", "epoch", "val_accuracy")}
    state.rows.append(shortened(row))


def end_generation(trainer: Trainer, state: State, folder: Path) -> bool:
    """Measure the test images, and keep the weights and predictions that stand for the generation.

    Gives whether all of it is finite; else nothing is kept. A running statistic that is not may leave losses that are:
    by an infinite variance all is normalised to 0.
    """
    result, weights, right = outcome(trainer, state)
    measured_well = all(math.isfinite(value) for value in result.values() if isinstance(value, float))
    tensors = (*state.model.values(), *weights.values())  # the best epoch's may be others
    if not measured_well or not all(value.isfinite().all() for value in tensors):
        return False

    state.generations.append(result)
    name = f"gen-{result['generation']:02d}"
    save_tensors(folder / f"weights/{name}.safetensors", weights)
    with atomic(folder / f"predictions/{name}.npz") as path, path.open("wb") as file:
        np.savez(file, correct=right.cpu().numpy().astype(np.uint8))
    return True


def look_back(trainer: Trainer, state: State, clock: Clock) -> None:
    """Keep what the method asks of this epoch's end for later ones, as the end of `Forgetting._end` does."""
    state.alive = dict(trainer.masks.alive)
    if trainer.method.keeps(clock):
        state.kept = state.copied()
    if trainer.method.looks_back and trainer.phases.ends_generation(clock):
        state.previous = state.copied()
