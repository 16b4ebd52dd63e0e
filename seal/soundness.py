"""Whether a run's record holds together: whose its parts are, that numbers are what they stand for, and in their range.

The one check of a run. Runs.read, `seal sync`, `seal compare` and `seal doctor` make it before anything is judged or
shown; what fails is no evidence. Old records are asked for what they say, and for no key that is younger than they are.
"""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from seal.evaluations import EVALUATIONS, evaluation_and_target
from seal.evidence import MEND, BrokenEvidence, Items, as_written, entry, finite, read_checked_json
from seal.measure import Cell, Measure, stated
from seal.readings import EvaluationFile, Reading, generation_of
from seal.record import SKIPPED, Row, file_sha256
from seal.run_folder import RunFolder
from seal.stage_names import read_stages

# Rows, outcomes and values are rounded, to six digits and to seven.
ROUNDED = {"rel_tol": 1e-5, "abs_tol": 1e-6}
SHARES = ("_accuracy", "_accuracy_batch_statistics", "_share")  # ends of the names of numbers from 0 to 1
NUMBERS = (*SHARES, "_loss", "norm_early", "norm_late")


def sound_run(folder: Path, evaluations: Collection[str] | None = None) -> RunFolder:
    """The run in a folder, with all evaluations that are there or those of these names. Raises BrokenEvidence where a
    part of it cannot be read, or contradicts another."""
    run = RunFolder.read(folder, evaluations)
    _outcomes_follow(run)
    with as_written(run.summary_path):
        for outcome in run.summary["outcomes"]:
            _numbers_are_possible(outcome, run.summary_path)
            _history_agrees(outcome, run)
            _predictions_agree(outcome, run)

    read_stages(folder)
    checkpoints: dict[int, tuple[str, Path]] = {}
    for evaluation in run.evaluation_folders():
        for path in _evaluation_files(evaluation):
            with as_written(path):
                record = read_checked_json(path)
                _is_the_runs(record, path, run)
                if path.name != SKIPPED:
                    _one_checkpoint(record, path, run, checkpoints)
                    _measures_hold(run, path)
    return run


def _broken(path: Path, key: str, met: object, expected: str) -> BrokenEvidence:
    return BrokenEvidence(f"{path}: {key}: found {met}, expected {expected}; {MEND}")


def _outcomes_follow(run: RunFolder) -> None:
    """Generations 1, 2, 3, ... up to the last, or to a divergence."""
    numbers = [outcome["generation"] for outcome in run.summary["outcomes"]]
    last = run.last if run.diverged_in is None else run.diverged_in - 1
    if numbers != list(range(1, last + 1)):
        raise _broken(run.summary_path, "outcomes", f"generations {numbers}", f"1 to {last}")

    final, ends = run.summary["final"] or {}, run.summary["outcomes"][-1] if numbers else {}
    if bool(final) != bool(ends) or any(final[key] != ends[key] for key in final.keys() & ends.keys()):
        raise _broken(run.summary_path, "final", "another outcome", "the last of `outcomes`")


def _numbers_are_possible(outcome: Mapping[str, Any], path: Path) -> None:
    for key, value in outcome.items():
        if isinstance(value, Mapping):
            _numbers_are_possible(value, path)
        elif value is not None and (isinstance(value, float) or key.endswith(NUMBERS)):
            finite(value, path, key)
            if key.endswith(SHARES) and not 0 <= value <= 1:
                raise _broken(path, key, value, "a share from 0 to 1")


def _history_agrees(outcome: Mapping[str, Any], run: RunFolder) -> None:
    """The epoch that ends a generation says in history.csv what the outcome says of it."""
    path, ends = run.folder / "history.csv", _ends(run)
    row = ends.get(outcome["generation"])
    if row is None:
        raise _broken(path, f"generation {outcome['generation']}", "no epoch", "those that summary.json tells")

    for key, cell in row.items():
        stated = outcome.get(key)
        if not isinstance(stated, int | float) or not isinstance(cell, int | float):
            continue
        if not math.isclose(stated, cell, **ROUNDED):
            place = f"{key} at the end of generation {outcome['generation']}"
            raise _broken(path, place, cell, f"{stated}, as summary.json beside it has it")


def _ends(run: RunFolder) -> dict[int, Row]:
    """The last row of each generation."""
    return {row["generation"]: row for row in run.history}


def _predictions_agree(outcome: Mapping[str, Any], run: RunFolder) -> None:
    path, right = run.predictions(outcome["generation"])
    if not set(right) <= {0.0, 1.0}:
        raise _broken(path, "correct", "other numbers", "0 or 1, one a test image")

    stated = outcome.get("test_accuracy")
    if stated is not None and not math.isclose(right.mean(), stated, rel_tol=0, abs_tol=1e-6):
        place = f"test_accuracy of generation {outcome['generation']}"
        raise _broken(run.summary_path, place, stated, f"{right.mean():.7g}, the mean of {path}")


def _evaluation_files(folder: Path) -> list[Path]:
    """What an evaluation has left: a file a generation, or the one that says why it was skipped."""
    files = sorted(folder.glob("gen-*.json"))
    if (folder / SKIPPED).is_file():
        files.append(folder / SKIPPED)
    if not files:
        raise BrokenEvidence(f"{folder}: neither gen-NN.json nor {SKIPPED}; {MEND}")
    return files


def _is_the_runs(record: Any, path: Path, run: RunFolder) -> None:
    """An evaluation's file names the run, the folder and the generation that it lies in, and the run's own data."""
    evaluation, target = evaluation_and_target(path.parent.name)
    expected: dict[str, Any] = {"evaluation": evaluation, "target": target}
    expected |= {key: run.summary[key] for key in ("arm", "seed", "tier")}
    if path.name != SKIPPED:
        expected["generation"] = generation_of(path)
        if not target:
            expected["data_sha256"] = run.summary["data_sha256"]

    for key, value in expected.items():
        if entry(record, key, path) != value:
            raise _broken(path, key, record[key], f"{value}, as {path.parent.name} of {run.name} has it")


def _one_checkpoint(record: Any, path: Path, run: RunFolder, seen: dict[int, tuple[str, Path]]) -> None:
    """All evaluations of a generation looked at one network: that which lies beside them, where weights are kept."""
    generation, sha256 = record["generation"], entry(record, "checkpoint_sha256", path)
    weights = run.folder / f"weights/gen-{generation:02d}.safetensors"
    if generation not in seen:
        seen[generation] = (file_sha256(weights), weights) if weights.is_file() else (sha256, path)

    expected, place = seen[generation]
    if sha256 != expected:
        raise _broken(path, "checkpoint_sha256", sha256, f"{expected}, that of {place}")


def _measures_hold(run: RunFolder, path: Path) -> None:
    """Every number that an evaluation states can be read, lies in its range and is the mean of its parts."""
    name, target = evaluation_and_target(path.parent.name)
    generation, described = generation_of(path), EVALUATIONS.get(name)
    file = run.evaluation(name, generation, target)
    if described is None or not isinstance(file, EvaluationFile):
        return

    for measure in described.measures.values():
        for cell, _ in stated(file.values, measure, target):
            reading = run.measured(name, measure, generation, cell)
            if isinstance(reading, Reading):
                _is_possible(reading, measure, cell, path)


def _is_possible(reading: Reading, measure: Measure, cell: Cell, path: Path) -> None:
    key = measure.at.format(shot=cell.shot, block=cell.block)
    if measure.unit == "points" and not 0 <= reading.value <= measure.scale:
        raise _broken(path, key, reading.value / measure.scale, "a share from 0 to 1")
    if reading.items is not None and not _is_mean(reading.value, reading.items):
        mean = reading.items.mean() / measure.scale
        raise _broken(path, key, reading.value / measure.scale, f"{mean:.7g}, the mean of {path.stem}.npz")


def _is_mean(value: float, items: Items) -> bool:
    return math.isclose(value, float(items.mean()), rel_tol=1e-5, abs_tol=1e-4)
