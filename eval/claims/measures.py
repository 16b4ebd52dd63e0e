"""What claims compare, by name: the numbers of training's own record, read here, and every measure of an evaluation.

eval/claims/claim.py checks a claim's names against MEASURES; cells.py and comparisons.py read by it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.claims.rule import LEVEL
from seal.evaluations import EVALUATIONS
from seal.evidence import MEND, BrokenEvidence, finite
from seal.measure import Cell, Measure
from seal.readings import Missing, Reading
from seal.runs import Generation, RunFolder

BY_BATCH = "clean_accuracy_batch_statistics"


@dataclass(frozen=True)
class OfTraining:
    """A number of training's own record."""

    unit: str
    own: Callable[[RunFolder, Generation], Reading | Missing]
    stage: str = "train"
    scale: float = 1.0

    def read(self, run: RunFolder, generation: Generation, cell: Cell) -> Reading | Missing:
        return self.own(run, generation)

    def keys(self, run: RunFolder, generation: Generation, target: str | None) -> list[str] | Missing:
        return []


@dataclass(frozen=True)
class OfEvaluation:
    """A number that an evaluation's stage makes."""

    stage: str
    measure: Measure

    @property
    def unit(self) -> str:
        return self.measure.unit

    @property
    def scale(self) -> float:
        return self.measure.scale

    def read(self, run: RunFolder, generation: Generation, cell: Cell) -> Reading | Missing:
        return run.measured(self.stage, self.measure, generation, cell)

    def keys(self, run: RunFolder, generation: Generation, target: str | None) -> list[str] | Missing:
        """The shots or the blocks of which the run has it."""
        file = run.evaluation(self.stage, generation, target)
        return file if isinstance(file, Missing) else file.keys(self.measure)


def test_accuracy(run: RunFolder, generation: Generation) -> Reading | Missing:
    outcome = run.outcome(generation)
    if isinstance(outcome, Missing):
        return outcome

    path, correct = run.predictions(generation)
    accuracy = finite(outcome.get("test_accuracy"), run.summary_path, "test_accuracy")
    return Reading(100 * accuracy, 100 * correct, (run.summary_path, path))


def clean_accuracy(run: RunFolder, generation: Generation) -> Reading | Missing:
    """On the training images without augmentation, at the generation's end."""
    outcome = run.outcome(generation)
    if isinstance(outcome, Missing):
        return outcome

    accuracy = finite(outcome.get("clean_accuracy"), run.summary_path, "clean_accuracy")
    return Reading(100 * accuracy, None, (run.summary_path,))


def ascent_over_chance(run: RunFolder, generation: Generation) -> Reading | Missing:
    """Clean training accuracy by batch statistics after the last ascent epoch of a generation, over 1/C: the largest
    over generations. Running statistics lag while weights move."""
    ascents = _ascents(run)
    if isinstance(ascents, Missing):
        return ascents
    return Reading(ascents.classes * max(map(ascents.accuracy, ascents.after.values())), None, ascents.files)


def ascent_left(run: RunFolder, generation: Generation) -> Reading | Missing:
    """What an ascent leaves of the clean training accuracy beyond chance, (A - 1/C) / (A before - 1/C), by batch
    statistics; A before at the end of the generation before. The largest over generations."""
    ascents = _ascents(run)
    if isinstance(ascents, Missing):
        return ascents

    chance, shares = 1 / ascents.classes, []
    for number, row in ascents.after.items():
        before = ascents.accuracy(ascents.before[number]) if number in ascents.before else 0.0
        if before <= chance:
            return Missing("NOT-RUN", f"{run.name} knew nothing beyond chance before generation {number}'s ascent")
        shares.append((ascents.accuracy(row) - chance) / (before - chance))
    return Reading(max(shares), None, ascents.files)


@dataclass(frozen=True)
class Ascents:
    """The epochs of a history, by generation: the last of its ascent, and the last before it began."""

    after: dict[int, Mapping[str, Any]]
    before: dict[int, Mapping[str, Any]]
    classes: float
    files: tuple[Path, Path]  # history.csv, summary.json

    def accuracy(self, row: Mapping[str, Any]) -> float:
        """Of the clean training images, by batch statistics."""
        return finite(row.get(BY_BATCH), self.files[0], f"{BY_BATCH}, generation {row['generation']}")


def _ascents(run: RunFolder) -> Ascents | Missing:
    path = run.existing("history.csv")
    if "classes" not in run.summary:
        return Missing("NOT-RUN", f"{run.summary_path} does not say how many classes there are")

    ascended: dict[int, Mapping[str, Any]] = {}
    ended: dict[int, Mapping[str, Any]] = {}
    for row in run.history:
        ended[row["generation"] + 1] = row
        if row["phase"] == "ascent":
            ascended[row["generation"]] = row

    cut_off = ascended.get(run.diverged_in or 0)
    if cut_off is not None and cut_off.get(BY_BATCH) is None:
        del ascended[cut_off["generation"]]
        if not ascended:
            return Missing("NOT-COMPARABLE", f"{run.name} diverged in its first ascent")
    if not ascended:
        return Missing("NOT-RUN", f"{run.name} has no ascent phase")

    for outcome in run.summary["outcomes"]:
        if min(ascended) <= outcome["generation"] not in ascended:
            lost = outcome["generation"]
            raise BrokenEvidence(f"{path}: found no ascent in generation {lost}, expected one; {MEND}")

    classes = finite(run.summary["classes"], run.summary_path, "classes")
    return Ascents(ascended, ended, classes, (path, run.summary_path))


def diverged(run: RunFolder, generation: Generation) -> Reading | Missing:
    """1 where the training loss stopped being finite, else 0: a share, seen once a run. Of an arm whose divergence is
    refused, and leaves no record, each run that there is says 0: no evidence."""
    if run.settings.get("on_divergence") == "fail":
        return Missing("NOT-RUN", f"{run.name} would have left no record, had it diverged (`on_divergence: fail`)")
    return Reading(float(run.diverged_in is not None), None, (run.summary_path,), limit=1 - LEVEL)


MEASURES: dict[str, OfTraining | OfEvaluation] = {
    "test_accuracy": OfTraining("points", test_accuracy),
    "clean_accuracy": OfTraining("points", clean_accuracy),
    "ascent_over_chance": OfTraining("times chance", ascent_over_chance),
    "ascent_left": OfTraining("of what was known beyond chance", ascent_left),
    "diverged": OfTraining("", diverged),
}
for stage, evaluation in EVALUATIONS.items():
    for name, measure in evaluation.measures.items():
        MEASURES[name] = OfEvaluation(stage, measure)
