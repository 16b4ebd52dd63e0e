"""Training by generations: the loop, and the stage `python -m seal.train --run <arm>-<seed>`."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from seal.checkpoint import RESUME, State, save_tensors
from seal.clock import Clock, clocks
from seal.config import Params, Run, load_params
from seal.data.pack import PACKS, Pack, open_pack
from seal.device import torch_device
from seal.progress import TrainingProgress
from seal.publish import publish, refuse
from seal.record import RESULTS, SUMMARY_SCHEMA, Row, atomic
from seal.resume import resume_key, starting_state
from seal.rows import describe, measured, outcome, shortened
from seal.scratch import held, scratch_folder
from seal.stage import stage
from seal.tracking.live import Tracker
from seal.trainer import Diverged, Trainer
from seal.training_data import make_data

# What a training's numbers come from; dvc.yaml lists the same files, and a test compares.
CODE = [
    "seal/train.py", "seal/trainer.py", "seal/steps.py", "seal/objective.py", "seal/phases.py", "seal/rows.py",
    "seal/checkpoint.py", "seal/resume.py", "seal/training_data.py", "seal/batchnorm.py", "seal/clock.py",
    "seal/methods", "seal/rules.py", "seal/masks.py", "seal/split.py", "seal/reinit.py", "seal/optim.py",
    "seal/kernels", "seal/models.py", "seal/rng.py", "seal/data/batches.py",
]  # fmt: skip

OnBatch = Callable[[Clock, int, Tensor, Tensor], None]
OnEpoch = Callable[[Row], None]


def train(
    trainer: Trainer, state: State, folder: Path, resume_every: int, on_batch: OnBatch, on_epoch: OnEpoch
) -> None:
    """Train from where `state` stands to the run's end; `folder` keeps the resume state, weights and predictions.

    Section 3: G generations of E epochs; what each method forgets, and which side climbs, is in seal/methods.
    """
    if state.clock is not None:
        state.put(trainer.model, trainer.optimizer, trainer.names)

    for clock in clocks(trainer.run, after=state.clock):
        rules = trainer.begin_epoch(clock, state)
        losses = trainer.train_epoch(clock, on_batch)
        row = describe(trainer, clock, rules) | losses | measured(trainer, clock)

        end_epoch(trainer, state, clock, row)
        if trainer.phases.ends_generation(clock):
            end_generation(trainer, state, folder)
        look_back(trainer, state, clock)
        if trainer.phases.ends_generation(clock) or (row["global_epoch"] + 1) % resume_every == 0:
            state.save(folder / RESUME)

        on_epoch(state.rows[-1])


def end_epoch(trainer: Trainer, state: State, clock: Clock, row: Row) -> None:
    """Take the network into the state, as the best so far where it is that on the validation images."""
    state.clock = clock
    state.take(trainer.model, trainer.optimizer, trainer.names)
    if "val_accuracy" in row and (state.best_epoch is None or row["val_accuracy"] > state.best_epoch["val_accuracy"]):
        state.best = state.model
        state.best_epoch = {key: row[key] for key in ("generation", "epoch", "val_accuracy")}
    state.rows.append(shortened(row))


def end_generation(trainer: Trainer, state: State, folder: Path) -> None:
    """Measure the test images, and keep the weights and predictions that stand for the generation."""
    result, weights, right = outcome(trainer, state)
    state.generations.append(result)

    name = f"gen-{result['generation']:02d}"
    save_tensors(folder / f"weights/{name}.safetensors", weights)
    with atomic(folder / f"predictions/{name}.npz") as path, path.open("wb") as file:
        np.savez(file, correct=right.cpu().numpy().astype(np.uint8))


def look_back(trainer: Trainer, state: State, clock: Clock) -> None:
    """Keep what the method asks of this epoch's end for later ones."""
    state.alive = dict(trainer.masks.alive)
    if trainer.method.keeps(clock):
        state.kept = state.copied()
    if trainer.method.looks_back and trainer.phases.ends_generation(clock):
        state.previous = state.copied()


def run_stage(run_name: str, params: Params) -> tuple[float, str]:
    """Train a run and write its record to results/<run>/. Gives images per second, and the optimizer's backend."""
    run, base, runtime = params.find_run(run_name), params.base_of(run_name), params.runtime
    pack = open_pack(PACKS / f"{params.source}.safetensors")
    device = torch_device(runtime)
    trainer = Trainer(run, make_data(run, pack, device), device, runtime.optimizer_backend)

    facts = facts_of(run, pack)
    folder = scratch_folder(run.name, resume_key(facts), CODE)
    with held(folder):
        state = starting_state(run, base, trainer, folder)
        progress = TrainingProgress(run, len(trainer.data.train), done_epochs=len(state.rows))
        with progress, Tracker(run, facts, state.rows, enabled=runtime.track) as tracker:

            def on_epoch(row: Row) -> None:
                progress.on_epoch(row)
                tracker.on_epoch(row)

            diverged = None
            try:
                train(trainer, state, folder, runtime.resume_every_epochs, progress.on_batch, on_epoch)
            except Diverged as error:
                refuse(run, state, folder, str(error))
                diverged = error.place

            publish(run, state, folder, RESULTS / run.name, facts, diverged)
            tracker.finish(RESULTS / run.name)

    return progress.rate, trainer.optimizer.backend


def facts_of(run: Run, pack: Pack) -> dict[str, Any]:
    """What summary.json says of a run beside its results: parameters and data."""
    return run.facts() | {
        "schema": SUMMARY_SCHEMA,
        "run": run.name,
        "data": pack.name,
        "data_sha256": pack.sha256,
        "provenance": pack.provenance,
        "classes": len(pack.classes),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m seal.train")
    parser.add_argument("--run", required=True, metavar="ARM-SEED", help="e.g. seal-0")
    name = parser.parse_args(arguments).run
    with stage(f"train@{name}") as timing:
        timing.unit = "images"
        timing.rate, timing.backend = run_stage(name, load_params())


if __name__ == "__main__":
    main()
