"""What claims compare, by name: the numbers of training's own record, read here, and every measure of an evaluation.

eval/claims/claim.py checks a claim's names against MEASURES; cells.py and comparisons.py read by it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from seal.evaluations import EVALUATIONS
from seal.evidence import MEND, BrokenEvidence, finite
from seal.measure import Cell, Measure
from seal.readings import Missing, Reading
from seal.runs import Generation, RunFolder


@dataclass(frozen=True)
class OfTraining:
    """A number of training's own record."""

    unit: str
    own: Callable[[RunFolder, Generation], Reading | Missing]
    stage: str = "train"

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
    path = run.existing("history.csv")
    if "classes" not in run.summary:
        return Missing("NOT-RUN", f"{run.summary_path} does not say how many classes there are")

    last_epochs = {}
    for row in run.history:
        if row["phase"] == "ascent":
            last_epochs[row["generation"]] = row
    if not last_epochs:
        return Missing("NOT-RUN", f"{run.name} has no ascent phase")

    for outcome in run.summary["outcomes"]:
        if min(last_epochs) <= outcome["generation"] not in last_epochs:
            lost = outcome["generation"]
            raise BrokenEvidence(f"{path}: found no ascent in generation {lost}, expected one; {MEND}")

    key = "clean_accuracy_batch_statistics"
    accuracies = [finite(row[key], path, f"{key}, generation {number}") for number, row in last_epochs.items()]
    classes = finite(run.summary["classes"], run.summary_path, "classes")
    return Reading(max(accuracies) * classes, None, (path, run.summary_path))


def diverged(run: RunFolder, generation: Generation) -> Reading:
    """1 where the training loss stopped being finite, else 0."""
    return Reading(float(run.diverged_in is not None), None, (run.summary_path,))


MEASURES: dict[str, OfTraining | OfEvaluation] = {
    "test_accuracy": OfTraining("points", test_accuracy),
    "clean_accuracy": OfTraining("points", clean_accuracy),
    "ascent_over_chance": OfTraining("times chance", ascent_over_chance),
    "diverged": OfTraining("", diverged),
}
for stage, evaluation in EVALUATIONS.items():
    for name, measure in evaluation.measures.items():
        MEASURES[name] = OfEvaluation(stage, measure)
