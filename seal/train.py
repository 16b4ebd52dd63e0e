"""Training by generations: the loop, and the stage `python -m seal.train --run <arm>-<seed>`."""

import argparse
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from seal.batchnorm import running_statistics
from seal.checkpoint import State, held, save_tensors, scratch_folder
from seal.clock import Clock, clocks, learning_rate
from seal.config import BASE_ARM, BASE_KEYS, ConfigError, Params, Run, load_params
from seal.data.batches import Batches
from seal.data.pack import PACKS, Pack, open_pack
from seal.device import torch_device
from seal.errors import UserError, one_line_errors
from seal.methods import SIDES, descend, method_of
from seal.progress import TrainingProgress
from seal.publish import publish
from seal.record import HISTORY_COLUMNS, RESULTS, SUMMARY_SCHEMA, Row, append_timing, atomic, write_csv
from seal.tracking.live import Tracker
from seal.trainer import Data, Diverged, Trainer

# What a training's numbers come from; dvc.yaml lists the same files, and a test compares.
CODE = [
    "seal/train.py", "seal/trainer.py", "seal/batchnorm.py", "seal/clock.py", "seal/methods.py", "seal/split.py",
    "seal/reinit.py", "seal/optim.py", "seal/kernels", "seal/models.py", "seal/rng.py", "seal/data/batches.py",
]  # fmt: skip


def train(
    trainer: Trainer, state: State, folder: Path, resume_every: int,
    on_batch: Callable[[Clock, int, Tensor, Tensor], None], on_epoch: Callable[[Row], None],
) -> None:  # fmt: skip
    """Train from where `state` stands to the run's end; `folder` keeps the resume state, weights and predictions."""
    val = trainer.data.val
    if state.clock is not None:
        trainer.load(state)
    for clock in clocks(trainer.run, after=state.clock):
        rules = trainer.begin_epoch(clock)
        losses = trainer.train_epoch(clock, on_batch)
        row = trainer.describe(clock, rules) | losses
        if trainer.last_of_phase(clock):
            row |= trainer.measure_clean(clock)
        if len(val):
            with running_statistics(trainer.model):
                row["val_loss"], right = trainer.measure(trainer.model, val.clean())
            row["val_accuracy"] = float(right.double().mean())
        trainer.store(state)
        if len(val) and (state.best_epoch is None or row["val_accuracy"] > state.best_epoch["val_accuracy"]):
            state.best = state.model
            state.best_epoch = {key: row[key] for key in ("generation", "epoch", "val_accuracy")}
        state.clock = clock
        state.rows.append(
            {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
        )
        if trainer.last_of_generation(clock):
            end_generation(trainer, state, folder)
        if trainer.last_of_generation(clock) or (row["global_epoch"] + 1) % resume_every == 0:
            state.save(folder / "state.safetensors")
        on_epoch(state.rows[-1])


def end_generation(trainer: Trainer, state: State, folder: Path) -> None:
    """Read the test images, once: with the last weights, and with those best on the validation images, if any."""
    row, batches = state.rows[-1], trainer.data.test
    generation = row["generation"]
    with running_statistics(trainer.model):
        loss, right = trainer.measure(trainer.model, batches.clean())
    measured = {key: value for key, value in row.items() if key.startswith(("train_", "val_", "clean_", "norm_"))}
    accuracy = float(right.double().mean())
    place = {key: row[key] for key in ("generation", "global_epoch")}
    outcome = place | measured | {"test_loss": loss, "test_accuracy": accuracy, "best": None}
    weights = state.model
    if state.best_epoch is not None:
        best = {name: value.to(trainer.device) for name, value in state.best.items()}
        with running_statistics(trainer.model):
            _, best_right = trainer.measure(lambda x: functional_call(trainer.model, best, (x,)), batches.clean())
        outcome["best"] = state.best_epoch | {"test_accuracy": float(best_right.double().mean())}
        if trainer.run.generations.checkpoint == "best":
            weights, right = best, best_right
    state.generations.append(outcome)
    save_tensors(folder / f"weights/gen-{generation:02d}.safetensors", weights)
    with atomic(folder / f"predictions/gen-{generation:02d}.npz") as path, path.open("wb") as file:
        np.savez(file, correct=right.cpu().numpy().astype(np.uint8))


def shares_generation_1(run: Run, base: Run, trainer: Trainer) -> bool:
    """Whether the run's first generation is, rule by rule, the one that the base stage has trained and recorded."""
    kept = all(getattr(run.generations, key) == getattr(base.generations, key) for key in BASE_KEYS)
    first = [Clock(1, epoch) for epoch in range(base.training.epochs_per_generation)]
    return (
        kept
        and (run.model, run.training) == (base.model, base.training)
        and all(
            trainer.method.rules(clock) == dict.fromkeys(SIDES, descend(base))
            and not trainer.method.reinitialised(clock, trainer.split)
            and learning_rate(run, clock) == learning_rate(base, clock)
            for clock in first
        )
    )


def make_data(run: Run, pack: Pack, device: torch.device) -> Data:
    """Batches of every split on the device. Raises ConfigError where a split cannot be trained or measured on."""
    training = run.training

    def batches(name: str, augment: bool = False) -> Batches:
        split = pack[name]
        return Batches(
            split.images, split.labels, batch_size=training.batch_size, mean=training.mean, std=training.std,
            flip=training.flip and augment, crop_padding=training.crop_padding if augment else 0,
            device=device, channels_last=training.channels_last,
        )  # fmt: skip

    images = {split: len(pack[split].labels) for split in ("train", "val", "test")}
    if images["train"] % training.batch_size == 1:
        raise ConfigError(
            f"training.batch_size: {training.batch_size} leaves a last batch of one of {images['train']} images, "
            "which BatchNorm cannot train on; choose another"
        )
    if images["test"] == 0:
        raise ConfigError(f"datasets.{pack.name}.split leaves no test image")
    if run.generations.checkpoint == "best" and images["val"] == 0:
        raise ConfigError(
            f"generations.checkpoint: best needs validation images, and datasets.{pack.name}.split leaves none"
        )
    train = batches("train", augment=True)
    return Data(train, train.plain(), batches("val"), batches("test"), len(pack.classes))


def starting_state(run: Run, base: Run, trainer: Trainer, folder: Path) -> State:
    """The run's own resume state, else generation 1 as the base stage has trained it, else nothing yet."""
    if (folder / "state.safetensors").exists():
        return State.load(folder / "state.safetensors")
    state = State()
    if run.arm != BASE_ARM and shares_generation_1(run, base, trainer):
        source = RESULTS / base.name
        state = State.load(source / "handover.safetensors")
        for name in ("weights/gen-01.safetensors", "predictions/gen-01.npz"):
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, folder / name)
    else:
        trainer.store(state)
    return state


def run_stage(run_name: str, params: Params) -> None:
    """Train a run and write its record to results/<run>/, and a row of timings apart."""
    began = time.perf_counter()
    run, base, runtime = params.find_run(run_name), params.base_of(run_name), params.runtime
    method_of(run)
    pack = open_pack(PACKS / f"{params.source}.safetensors")
    device = torch_device(runtime)
    trainer = Trainer(run, make_data(run, pack, device), device, runtime.optimizer_backend)
    facts = run.facts() | {
        "schema": SUMMARY_SCHEMA, "run": run.name,
        "data": pack.name, "data_sha256": pack.sha256, "provenance": pack.provenance, "classes": len(pack.classes),
    }  # fmt: skip
    folder = scratch_folder(run.name, resume_key(facts), CODE)
    diverged = None
    with held(folder):
        state = starting_state(run, base, trainer, folder)
        progress = TrainingProgress(run, len(trainer.data.train), done_epochs=len(state.rows))
        with progress, Tracker(run, facts, state.rows, enabled=runtime.track) as tracker:

            def on_epoch(row: Row) -> None:
                progress.on_epoch(row)
                tracker.on_epoch(row)

            try:
                train(trainer, state, folder, runtime.resume_every_epochs, progress.on_batch, on_epoch)
            except Diverged as error:
                if run.generations.on_divergence == "fail":
                    write_csv(folder / "history.csv", HISTORY_COLUMNS, state.rows)
                    advice = "Try a smaller learning_rate or ascent_lr_scale, or keep it by `on_divergence: record`"
                    raise UserError(
                        f"{run.name}: {error}. {advice}. Its history is in {folder / 'history.csv'}"
                    ) from None
                diverged = error.place
            publish(run, state, folder, RESULTS / run.name, facts, diverged)
            tracker.finish(RESULTS / run.name)
    stage = os.environ.get("DVC_STAGE", f"train@{run.name}")
    append_timing(
        stage, time.perf_counter() - began, rate=progress.rate, unit="images", backend=trainer.optimizer.backend
    )


def resume_key(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that a resume state depends on. Raising the number of generations goes on from the last one where the
    schedule allows it, and neither what is kept of a generation nor what a divergence leads to changes it."""
    free = {"kept_generations", "on_divergence"}
    if facts["generations"]["schedule"] == "per_generation":
        free.add("num_generations")
    generations = {name: value for name, value in facts["generations"].items() if name not in free}
    return {name: value for name, value in facts.items() if name not in ("tier", "provenance")} | {
        "generations": generations
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m seal.train")
    parser.add_argument("--run", required=True, metavar="ARM-SEED", help="e.g. seal-0")
    arguments = parser.parse_args()
    with one_line_errors():
        run_stage(arguments.run, load_params())


if __name__ == "__main__":
    main()
