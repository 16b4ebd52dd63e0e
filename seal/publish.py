"""From a finished training in its scratch folder to the record in results/<run>/."""

import shutil
from pathlib import Path
from typing import Any

from seal.checkpoint import State, save_tensors
from seal.config import BASE_ARM, Run
from seal.record import HISTORY_COLUMNS, write_csv, write_json


def publish(
    run: Run, state: State, folder: Path, results: Path, facts: dict[str, Any], diverged: dict[str, Any] | None
) -> None:
    """Write the run's record for its number of generations, which is a prefix of what the scratch folder holds."""
    wanted = run.generations.num_generations
    done = [outcome for outcome in state.generations if outcome["generation"] <= wanted]
    for name in ("weights", "predictions"):
        shutil.rmtree(results / name, ignore_errors=True)
        (results / name).mkdir(parents=True)
    for generation in (outcome["generation"] for outcome in done):
        if generation in run.generations.kept_generations or generation == wanted:
            shutil.copyfile(
                folder / f"weights/gen-{generation:02d}.safetensors",
                results / f"weights/gen-{generation:02d}.safetensors",
            )
        shutil.copyfile(
            folder / f"predictions/gen-{generation:02d}.npz", results / f"predictions/gen-{generation:02d}.npz"
        )
    if run.arm == BASE_ARM:  # with momentum, and the best weights so far: the arms go on from it
        shutil.copyfile(folder / "state.safetensors", results / "handover.safetensors")
    if diverged is not None:
        save_tensors(results / "weights/before-divergence.safetensors", state.model)
    write_csv(results / "history.csv", HISTORY_COLUMNS, [row for row in state.rows if row["generation"] <= wanted])
    final = done[-1] if done else None
    write_json(results / "summary.json", facts | {"outcomes": done, "final": final, "diverged": diverged})
    names = ("test_accuracy", "test_loss", "val_accuracy", "train_accuracy", "clean_accuracy")
    shown = {name: final[name] for name in names if name in final} if final else {}
    if final and final["best"]:
        shown["best_test_accuracy"] = final["best"]["test_accuracy"]
    write_json(results / "metrics.json", shown)  # what `dvc metrics show` has a column for
