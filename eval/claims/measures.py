"""What the claims are about: each measure's place in the record, its unit, and how it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.claims.evidence import (
    Absent,
    Cell,
    Generation,
    Items,
    Reading,
    RunRecord,
    entry,
    finite,
    finite_items,
)
from eval.claims.rule import Verdict
from seal.evidence import MEND, BrokenEvidence

Reader = Callable[[RunRecord, Generation, Cell], Reading]


@dataclass(frozen=True)
class Measure:
    evaluation: str | None  # the stage; None: training's own record
    unit: str
    read: Reader


def test_accuracy(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
    outcome, name = run.outcome(generation), f"predictions/gen-{run.number(generation):02d}.npz"
    path = run.existing(name)
    items = 100 * finite_items(run.arrays(name).get("correct"), path, "correct")
    summary = run.folder / "summary.json"
    return Reading(100 * finite(outcome.get("test_accuracy"), summary, "test_accuracy"), items, (summary, path))


def clean_accuracy(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
    """On the training images without augmentation, at the generation's end."""
    path = run.folder / "summary.json"
    return Reading(100 * finite(run.outcome(generation).get("clean_accuracy"), path, "clean_accuracy"), None, (path,))


def ascent_over_chance(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
    """Clean training accuracy by batch statistics after the last ascent epoch of a generation, over 1/C: the largest
    over generations. Running statistics lag while weights move."""
    path, summary = run.existing("history.csv"), run.folder / "summary.json"
    if "classes" not in run.summary:
        raise Absent(Verdict.NOT_RUN, f"{summary} does not say how many classes there are")
    last = {row["generation"]: row for row in run.history() if row["phase"] == "ascent"}
    if not last:
        raise Absent(Verdict.NOT_RUN, f"{run.folder.name} has no ascent phase")
    ended = {each["generation"] for each in run.summary["outcomes"]}
    if lost := {generation for generation in ended if generation >= min(last)} - set(last):
        raise BrokenEvidence(f"{path}: found no ascent in generation {min(lost)}, expected one; {MEND}")
    key = "clean_accuracy_batch_statistics"
    largest = max(finite(row[key], path, f"{key}, generation {row['generation']}") for row in last.values())
    return Reading(largest * finite(run.summary["classes"], summary, "classes"), None, (path, summary))


def diverged(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
    """1 where the training loss stopped being finite, else 0."""
    return Reading(float(run.summary["diverged"] is not None), None, (run.folder / "summary.json",))


def transfer(rule: str) -> Reader:
    """A linear probe of cell.target, at the rate that `rule` chooses: paper or validation."""

    def read(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
        path, values = run.evaluation(f"transfer-{cell.target}", generation)
        value = 100 * finite(entry(entry(values, rule, path), "accuracy", path), path, f"{rule}.accuracy")
        return _with_items(run, path, value, f"correct_{rule}", 100)

    return read


def few_shot(evaluation: str) -> Reader:
    def read(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
        path, values = run.evaluation(f"{evaluation}-{cell.target}", generation)
        found = entry(values, "shots", path).get(str(cell.shot))
        if found is None:
            raise Absent(Verdict.NOT_RUN, f"{run.folder.name}/eval/{path.parent.name}: {cell.shot}-shot: not run")
        if isinstance(found, Mapping) and "skipped" in found:
            raise Absent(Verdict.SKIPPED_DATA, f"{path.parent.name}: {cell.shot}-shot: {found['skipped']}")
        value = 100 * finite(entry(found, "accuracy", path), path, f"shots.{cell.shot}.accuracy")
        return _with_items(run, path, value, f"accuracy_{cell.shot}", 100)

    return read


def knn_accuracy(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
    """The probe's accuracy on the output of cell.block (Figs. 2 and 3)."""
    path, values = run.evaluation("prediction_depth", generation)
    blocks, accuracy = (entry(values, key, path) for key in ("blocks", "knn_accuracy"))
    if cell.block not in blocks:
        raise Absent(Verdict.NOT_RUN, f"{run.folder.name}: no block {cell.block}")
    at = blocks.index(cell.block)
    value = 100 * finite(dict(enumerate(accuracy)).get(at), path, f"knn_accuracy[{at}]")
    name = path.with_suffix(".npz").relative_to(run.folder).as_posix()
    arrays_path = run.folder / name
    votes, labels = (entry(run.arrays(name), key, arrays_path) for key in ("votes", "labels"))
    if votes.shape != (len(labels), len(blocks)):
        raise BrokenEvidence(f"{arrays_path}: found votes {votes.shape}, expected images by blocks; {MEND}")
    return Reading(value, 100.0 * (votes[:, at] == labels), (path, arrays_path))


def mean_depth(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
    path, values = run.evaluation("prediction_depth", generation)
    return _with_items(run, path, finite(values.get("mean_depth"), path, "mean_depth"), "depth", 1)


def hessian(key: str, scale: float) -> Reader:
    """Over the eigenvalues that Lanczos found; no values per test item."""

    def read(run: RunRecord, generation: Generation, cell: Cell) -> Reading:
        path, values = run.evaluation("hessian", generation)
        if "power" in values and "lanczos" not in values:
            raise Absent(Verdict.NOT_RUN, f"{run.folder.name}: hessian.solvers leaves lanczos out")
        found = entry(values, "lanczos", path)
        value = scale * finite(entry(found, key, path), path, f"lanczos.{key}")
        limit = found.get("negative_upper_limit") if key == "negative_fraction" else None
        return Reading(value, None, (path,), scale * finite(limit or 0.0, path, "lanczos.negative_upper_limit"))

    return read


def _with_items(run: RunRecord, path: Any, value: float, key: str, scale: float) -> Reading:
    arrays = path.with_suffix(".npz")
    name = arrays.relative_to(run.folder).as_posix()
    items: Items = scale * finite_items(run.arrays(name).get(key), arrays, key)
    return Reading(value, items, (path, arrays))


MEASURES = {
    "test_accuracy": Measure(None, "points", test_accuracy),
    "clean_accuracy": Measure(None, "points", clean_accuracy),
    "ascent_over_chance": Measure(None, "times chance", ascent_over_chance),
    "diverged": Measure(None, "", diverged),
    "transfer": Measure("transfer", "points", transfer("paper")),
    "transfer_validation": Measure("transfer", "points", transfer("validation")),
    "fewshot": Measure("fewshot", "points", few_shot("fewshot")),
    "fewshot_affines": Measure("fewshot_affines", "points", few_shot("fewshot_affines")),
    "knn_accuracy": Measure("prediction_depth", "points", knn_accuracy),
    "mean_depth": Measure("prediction_depth", "blocks", mean_depth),
    "max_eigenvalue": Measure("hessian", "", hessian("max_eigenvalue", 1)),
    "negative_fraction": Measure("hessian", "points", hessian("negative_fraction", 100)),
}
