"""By which values a run is judged, and between which of them a new seed of its arm lies, by the seeds of a folder.

A new seed of the same distribution lies within mean +- t s sqrt(1 + 1/n). The deviation s of a value is pooled over the
arms, as there are few seeds, and t is Student's at the level shared by all values that are judged (Bonferroni).
seal/study/compare.py asks.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from scipy.special import stdtrit  # type: ignore[import-untyped]

from seal.errors import UserError
from seal.evaluations import EVALUATIONS, Evaluation, evaluation_and_target
from seal.measure import numbers_of
from seal.readings import EvaluationFile
from seal.record import ROUNDING
from seal.runs import RunFolder

TEST_ACCURACY = "test_accuracy"  # in the summary's `final`
LEVEL = 0.05  # chance that any of all values of a run from the same distribution is called outside


class Spread:
    """Between which values a new seed lies, by the runs of a folder; `different`: the runs held against it."""

    def __init__(self, expected: Path, kept: Iterable[RunFolder], different: Sequence[RunFolder]) -> None:
        self.expected = expected
        self.by_arm: dict[str, list[dict[str, float]]] = {}
        for run in kept:
            self.by_arm.setdefault(run.arm, []).append(judged_values(run))
        self.shared = {run.name: self._shared(run) for run in different}
        self.judged = sum(map(len, self.shared.values()))

    def _shared(self, run: RunFolder) -> list[str]:
        """What every expected seed has; what the run itself lacks of an evaluation that it has is outside."""
        first, *others = self.by_arm[run.arm]
        evaluated = {name for name, _, _ in _evaluations(run)}
        shared = []
        for key in first:
            evaluation = key.partition("/")[0]
            if all(key in values for values in others) and (key == TEST_ACCURACY or evaluation in evaluated):
                shared.append(key)
        return shared

    def outside(self, run: RunFolder, differing: Sequence[Path]) -> list[str]:
        """A line for each of its values that is. Raises UserError where `expected` has one seed an arm, so that only
        the files that are `differing` can be named."""
        lines, ours = [], judged_values(run)
        for key in self.shared[run.name]:
            deviation, freedom = pooled_deviation(key, self.by_arm)
            if not freedom:
                raise UserError(
                    f"{run.name}: {not_the_same(differing)}, and by how much seeds differ is not known: "
                    f"found one seed an arm in {self.expected}, expected two or more"
                )

            values = [seed[key] for seed in self.by_arm[run.arm]]
            mean, half = statistics.fmean(values), half_width(deviation, freedom, len(values), self.judged)
            if key not in ours:
                lines.append(f"  {key}: no finite number, expected {mean:.4g} +- {half:.2g}")
            elif abs(ours[key] - mean) > half + ROUNDING * max(1, abs(mean)):
                lines.append(f"  {key}: {ours[key]:.4g}, expected {mean:.4g} +- {half:.2g}")
        return lines


def not_the_same(files: Sequence[Path]) -> str:
    """In words, with the first of the files that differ; a history comes before what followed from it."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"not the same bits in {files[0]}{more}"


def judged_values(run: RunFolder) -> dict[str, float]:
    """Its test accuracy at the end, and of each evaluation the numbers that EVALUATIONS says are compared, by
    <evaluation>-gen-NN/<path>. Of a run that diverged: those of its last whole generation."""
    values = {}
    accuracy = (run.summary["final"] or {}).get(TEST_ACCURACY)
    if accuracy is not None and math.isfinite(accuracy):
        values[TEST_ACCURACY] = float(accuracy)

    for name, evaluation, file in _evaluations(run):
        for measure in evaluation.measures.values():
            numbers = numbers_of(file.values, measure) if measure.compared else {}
            for path, number in numbers.items():
                values[f"{name}/{path.replace('.', '/')}"] = number
    return values


def _evaluations(run: RunFolder) -> Iterator[tuple[str, Evaluation, EvaluationFile]]:
    """What was evaluated of which generation, and its file; those that this version knows."""
    for folder in run.evaluation_folders():
        evaluation = evaluation_in(folder.name)
        if evaluation is not None:
            for generation, file in run.evaluations(folder.name).items():
                yield f"{folder.name}-gen-{generation:02d}", evaluation, file


def evaluation_in(folder: str) -> Evaluation | None:
    """The evaluation whose results a folder of this name holds, e.g. transfer-digits."""
    return EVALUATIONS.get(evaluation_and_target(folder)[0])


def pooled_deviation(key: str, by_arm: Mapping[str, Sequence[Mapping[str, float]]]) -> tuple[float, int]:
    """A value's standard deviation over seeds, pooled over the arms that have it in every seed; degrees of freedom."""
    squares, freedom = 0.0, 0
    for seeds in by_arm.values():
        values = [seed[key] for seed in seeds if key in seed]
        if len(values) == len(seeds) > 1:
            squares += statistics.variance(values) * (len(values) - 1)
            freedom += len(values) - 1
    return (math.sqrt(squares / freedom) if freedom else 0.0), freedom


def half_width(deviation: float, freedom: int, seeds: int, judged: int) -> float:
    """Half of the interval in which a new seed lies, all of `judged` values at once, in 1 - LEVEL of cases."""
    return float(stdtrit(freedom, 1 - LEVEL / (2 * judged))) * deviation * math.sqrt(1 + 1 / seeds)
