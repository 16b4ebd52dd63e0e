"""From a finished training in its scratch folder to the record in results/<run>/."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seal.checkpoint import HANDOVER, State, load_tensors, save_tensors
from seal.errors import UserError
from seal.files import new_folder, put_in_place
from seal.record import HISTORY_COLUMNS, Row, write_csv, write_json
from seal.sections import BASE_ARM, Run

SHOWN = ("test_accuracy", "test_loss", "val_accuracy", "train_accuracy", "clean_accuracy")  # by `dvc metrics show`

Place = dict[str, Any]  # of a divergence: its generation, epoch and batch
Outcomes = list[dict[str, Any]]  # a generation's end each, as summary.json has it


def publish(run: Run, state: State, folder: Path, results: Path, facts: dict[str, Any], diverged: Place | None) -> None:
    """Write the run's record for its number of generations, which is a prefix of what the scratch folder holds.

    `diverged`: where the training diverged, if it did: at a batch, or, without one, as a generation ended. The weights
    before that end are those of the generation before.
    """
    wanted = run.generations.num_generations
    done = _up_to(wanted, state.generations)
    before = state.model
    if diverged is not None and "batch" not in diverged:
        before = load_tensors(folder / f"weights/gen-{len(done):02d}.safetensors")[0] if done else {}

    results.mkdir(parents=True, exist_ok=True)
    with new_folder(results / "record") as made:  # whole before a first name is taken: a full disk changes nothing
        _copy_networks(run, done, folder, made)
        if run.arm == BASE_ARM:  # with momentum, and the best weights so far: the arms go on from it
            replace(state, run=None, threads=None).save(made / HANDOVER)
        if diverged is not None and before:
            save_tensors(made / "weights/before-divergence.safetensors", before)

        final = done[-1] if done else None
        write_csv(made / "history.csv", HISTORY_COLUMNS, _up_to(wanted, state.rows))
        write_json(made / "metrics.json", _shown(final, diverged))
        write_json(made / "summary.json", facts | {"outcomes": done, "final": final, "diverged": diverged})
        for part in sorted(made.iterdir()):
            put_in_place(part, results / part.name)


def refuse(run: Run, state: State, folder: Path, reason: str) -> None:
    """Raises UserError where a divergence is no result (`on_divergence: fail`); `folder` keeps the history so far."""
    if run.generations.on_divergence == "record":
        return

    write_csv(folder / "history.csv", HISTORY_COLUMNS, state.rows)
    raise UserError(
        f"{run.name}: {reason}. Try a smaller learning_rate or ascent_lr_scale, or keep it by `on_divergence: record`. "
        f"Its history is in {folder / 'history.csv'}"
    ) from None


def _copy_networks(run: Run, done: Outcomes, folder: Path, results: Path) -> None:
    """Predictions of every generation, weights of those that are kept and of the last."""
    for name in ("weights", "predictions"):
        (results / name).mkdir()

    for outcome in done:
        generation = outcome["generation"]
        predictions, weights = f"predictions/gen-{generation:02d}.npz", f"weights/gen-{generation:02d}.safetensors"
        shutil.copyfile(folder / predictions, results / predictions)
        if generation in run.generations.with_weights:
            shutil.copyfile(folder / weights, results / weights)


def _up_to(generation: int, rows: Sequence[Row]) -> list[Row]:
    """Of epochs or of outcomes those of the generations up to that one."""
    return [row for row in rows if row["generation"] <= generation]


def _shown(final: dict[str, Any] | None, diverged: Place | None) -> dict[str, Any]:
    """What `dvc metrics show` has a column for; of a run that diverged no accuracy, as an earlier one's is no end."""
    if diverged is not None:
        return {"diverged_in_generation": diverged["generation"]}
    if final is None:
        return {}

    metrics = {name: final[name] for name in SHOWN if name in final}
    if final["best"]:
        metrics["best_test_accuracy"] = final["best"]["test_accuracy"]
    return metrics
