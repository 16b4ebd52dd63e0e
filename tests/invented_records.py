"""Invented but lifelike records of runs, for the tests of what reads a record."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seal.methods.paper import Ascent
from seal.record import HISTORY_COLUMNS, SUMMARY_SCHEMA, Row, read_json, write_csv, write_json
from seal.sections import Run
from seal.timings import TIMING_COLUMNS
from tests.strategies import params_with

IMAGES = 10_000  # of the test split

# Where each arm's invented accuracy ends.
LEVEL = {
    "normal": 0.42,
    "normal_long": 0.46,
    "llf": 0.52,
    "seal": 0.56,
    "seal_reverse": 0.38,
    "seal_freeze": 0.44,
    "imp": 0.48,
}


def invented_run(arm: str, seed: int = 0, generations: int = 2, epochs: int = 4) -> Run:
    run = params_with().run(arm, seed)
    training = run.training.model_copy(update={"epochs_per_generation": epochs})
    made = run.generations.model_copy(update={"num_generations": 1 if arm == "normal" else generations})
    options = run.options
    if isinstance(options, Ascent):
        options = replace(options, ascent_epochs=epochs // 4)
    return run.model_copy(update={"training": training, "generations": made, "options": options})


def facts_of(run: Run) -> dict[str, Any]:
    return run.facts() | {
        "schema": SUMMARY_SCHEMA,
        "run": run.name,
        "data": "mnist_5k",
        "data_sha256": "4b" * 32,
        "provenance": {"official": True, "archives": []},
    }


def rows_of(run: Run) -> list[Row]:
    """One row an epoch: a rise in each generation, a drop at the ascent, some cells not measured."""
    epochs, level, rows = run.training.epochs_per_generation, LEVEL[run.arm], []
    for generation in range(1, run.generations.num_generations + 1):
        for epoch in range(epochs):
            step = (generation - 1) * epochs + epoch
            ascends = run.method == "seal" and generation > 1 and epoch < run.options.ascent_epochs
            progress = 1 - math.exp(-4 * (epoch + 1) / epochs)
            start = 0.1 if generation == 1 else 0.7 * level
            wobble = 0.012 * math.sin(7.1 * step + 3 * run.seed + len(run.arm))
            accuracy = 0.08 if ascends else start + (level + 0.02 * generation - start) * progress + wobble
            rate = 0.005 * (1 + math.cos(math.pi * epoch / epochs))
            row: Row = dict.fromkeys(HISTORY_COLUMNS) | {
                "generation": generation,
                "epoch": epoch,
                "global_epoch": step,
                "phase": "ascent" if ascends else "descent",
                "lr_early": rate / 100 if ascends else rate,
                "lr_late": rate,
                "sign_early": -1 if ascends else 1,
                "sign_late": 1,
                "train_loss": -math.log(accuracy),
                "train_accuracy": accuracy,
                "val_loss": -math.log(0.9 * accuracy),
                "val_accuracy": 0.9 * accuracy,
                "norm_early": 20 + 0.1 * step,
                "norm_late": 40 - 0.1 * step,
            }
            if epoch == epochs - 1:
                row |= {"clean_loss": row["train_loss"] - 0.1, "clean_accuracy": accuracy + 0.03}
            rows.append({name: float(f"{cell:.6g}") if isinstance(cell, float) else cell for name, cell in row.items()})
    return rows


def evaluation_facts(run_folder: Path, name: str, generation: int) -> dict[str, Any]:
    """What an evaluation's file says beside its values, of a run whose summary is there."""
    summary = read_json(run_folder / "summary.json")
    evaluation, _, target = name.partition("-")
    facts = {key: summary[key] for key in ("arm", "seed", "tier", "data_sha256")}
    facts |= {"evaluation": evaluation, "target": target or None, "generation": generation}
    return facts | {"checkpoint_sha256": f"{generation:064x}"}


def write_record(results: Path, run: Run, diverged: dict[str, Any] | None = None) -> Path:
    """Write history.csv and summary.json as a training does; returns the run's folder."""
    rows, epochs = rows_of(run), run.training.epochs_per_generation
    best = {"generation": 1, "epoch": 2, "val_accuracy": 0.4, "test_accuracy": 0.39}
    outcomes = []
    for row in rows[epochs - 1 :: epochs]:
        right = np.arange(IMAGES) < round(IMAGES * row["val_accuracy"])
        path = results / run.name / f"predictions/gen-{row['generation']:02d}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, correct=right.astype(np.uint8))
        outcomes.append(row | {"test_loss": row["val_loss"], "test_accuracy": float(right.mean()), "best": best})
    write_csv(results / run.name / "history.csv", HISTORY_COLUMNS, rows)
    if diverged is not None:
        outcomes = outcomes[: diverged["generation"] - 1]
    final = outcomes[-1] if outcomes else None
    summary = facts_of(run) | {"outcomes": outcomes, "final": final, "diverged": diverged}
    write_json(results / run.name / "summary.json", summary)
    return results / run.name


def write_timings(folder: Path, stage: str, *rows: tuple[str, str]) -> None:
    timed = {"seconds": 1.0, "date": "2026-01-01"}
    write_csv(folder / f"{stage}.csv", TIMING_COLUMNS, [timed | {"cpu": cpu, "threads": n} for cpu, n in rows])
