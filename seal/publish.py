"""From a finished training in its scratch folder to the record in results/<run>/."""

import math
import shutil
from pathlib import Path
from typing import Any

from seal.checkpoint import HANDOVER, State, load_tensors, save_tensors
from seal.config import BASE_ARM, Run
from seal.errors import UserError
from seal.record import HISTORY_COLUMNS, write_csv, write_json


def publish(
    run: Run, state: State, folder: Path, results: Path, facts: dict[str, Any], diverged: dict[str, Any] | None
) -> None:
    """Write the run's record for its number of generations, which is a prefix of what the scratch folder holds.

    `diverged`: where the training loss stopped being finite, if it did. A loss measured at a generation's end that is
    not finite is a divergence too: raises UserError where `on_divergence` is `fail`, before anything is written.
    """
    wanted = run.generations.num_generations
    done = [outcome for outcome in state.generations if outcome["generation"] <= wanted]
    before = state.model
    broken = next((index for index, outcome in enumerate(done) if not _finite(outcome)), None)
    if broken is not None:
        generation = done[broken]["generation"]
        if run.generations.on_divergence == "fail":
            write_csv(folder / "history.csv", HISTORY_COLUMNS, state.rows)
            raise UserError(
                f"{run.name}: a loss measured at the end of generation {generation} is not finite. Try a smaller "
                "learning_rate or ascent_lr_scale, or keep it by `on_divergence: record`. "
                f"Its history is in {folder / 'history.csv'}"
            )
        diverged = {"generation": generation, "epoch": run.training.epochs_per_generation - 1}
        wanted, done = generation, done[:broken]
        before = load_tensors(folder / f"weights/gen-{generation - 1:02d}.safetensors")[0] if done else {}
    for name in ("weights", "predictions"):
        shutil.rmtree(results / name, ignore_errors=True)
        (results / name).mkdir(parents=True)
    for generation in (outcome["generation"] for outcome in done):
        if generation in run.generations.kept_generations or generation == run.generations.num_generations:
            shutil.copyfile(
                folder / f"weights/gen-{generation:02d}.safetensors",
                results / f"weights/gen-{generation:02d}.safetensors",
            )
        shutil.copyfile(
            folder / f"predictions/gen-{generation:02d}.npz", results / f"predictions/gen-{generation:02d}.npz"
        )
    if run.arm == BASE_ARM:  # with momentum, and the best weights so far: the arms go on from it
        shutil.copyfile(folder / "state.safetensors", results / HANDOVER)
    if diverged is not None and before:
        save_tensors(results / "weights/before-divergence.safetensors", before)
    write_csv(results / "history.csv", HISTORY_COLUMNS, [row for row in state.rows if row["generation"] <= wanted])
    final = done[-1] if done else None
    write_json(results / "summary.json", facts | {"outcomes": done, "final": final, "diverged": diverged})
    write_json(results / "metrics.json", _shown(final, diverged))


def _finite(outcome: dict[str, Any]) -> bool:
    return all(math.isfinite(value) for value in outcome.values() if isinstance(value, float))


def _shown(final: dict[str, Any] | None, diverged: dict[str, Any] | None) -> dict[str, Any]:
    """What `dvc metrics show` has a column for; of a run that diverged no accuracy, as an earlier one's is no end."""
    if diverged is not None or final is None:
        return {"diverged_in_generation": diverged["generation"]} if diverged else {}
    names = ("test_accuracy", "test_loss", "val_accuracy", "train_accuracy", "clean_accuracy")
    shown = {name: final[name] for name in names if name in final}
    if final["best"]:
        shown["best_test_accuracy"] = final["best"]["test_accuracy"]
    return shown
