"""An arm's numbers of an evaluation, one a seed, out of the runs' folders: what the tables and figures are made of.

They are as the files have them, fractions among them: a table's cell scales their mean. The mean of scaled numbers is
another float, which a tie may round the other way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seal.measure import NOWHERE, Cell, Measure
from seal.readings import EvaluationFile, Missing, Reading
from seal.runs import Generation, RunFolder


@dataclass(frozen=True)
class SeedNumbers:
    """A measure at a cell: of the seeds that have it, and why the others have not."""

    readings: Sequence[Reading]
    missing: Sequence[Missing]
    scale: float  # to the measure's unit

    @property
    def values(self) -> list[float]:
        return [reading.value for reading in self.readings]


def last_numbers(runs: Iterable[RunFolder], evaluation: str, measure: Measure, cell: Cell = NOWHERE) -> SeedNumbers:
    """Of each seed's last generation that was evaluated; none of a run that diverged, which has no last."""
    results = []
    for run in runs:
        generations = [] if run.diverged_in else [*_files(run, evaluation, cell.target)]
        last: Generation = max(generations) if generations else "last"
        results.append(as_recorded(run, evaluation, measure, last, cell))
    return _parted(results, measure)


def numbers_of_generation(
    runs: Iterable[RunFolder], evaluation: str, measure: Measure, generation: int, cell: Cell = NOWHERE
) -> SeedNumbers:
    return _parted([as_recorded(run, evaluation, measure, generation, cell) for run in runs], measure)


def as_recorded(
    run: RunFolder, evaluation: str, measure: Measure, generation: Generation, cell: Cell
) -> Reading | Missing:
    """A run's number as the file has it. What the evaluation did not write yet has not been run."""
    file = run.evaluation(_folder(evaluation, cell.target), generation)
    if isinstance(file, EvaluationFile) and not _knows(file, measure):
        return Missing("NOT-RUN", f"{file.path}: from before {measure.at}")
    return run.measured(evaluation, replace(measure, scale=1.0), generation, cell, items=False)


def evaluated_generations(runs: Iterable[RunFolder], evaluation: str) -> list[int]:
    """Generations in which any of the runs was evaluated, the first one first."""
    generations: set[int] = set()
    for run in runs:
        generations.update(_files(run, evaluation, None))
    return sorted(generations)


def keys(runs: Iterable[RunFolder], evaluation: str, measure: Measure, target: str | None = None) -> list[str]:
    """Of a measure over shots or blocks those that any run has, in the order in which they are met."""
    met: dict[str, None] = {}
    for run in runs:
        for file in _files(run, evaluation, target).values():
            if _knows(file, measure):
                met |= dict.fromkeys(file.keys(measure))
    return list(met)


def second_and_last(blocks: Sequence[str]) -> dict[str, str]:
    """The block of which the paper's text speaks, its layer threshold, and the last, by the words for them.

    Its second block is a stage of the network, which ends with the last of our Block2.1, Block2.2, ...; another
    network's blocks are no such stages.
    """
    shown = {}
    for name in blocks:
        if name.startswith("Block2."):
            shown["the second block"] = name
    if blocks:
        shown["the last block"] = blocks[-1]
    return shown


def _files(run: RunFolder, evaluation: str, target: str | None) -> dict[int, EvaluationFile]:
    return run.evaluations(_folder(evaluation, target))


def _folder(evaluation: str, target: str | None) -> str:
    return evaluation if target is None else f"{evaluation}-{target}"


def _knows(file: EvaluationFile, measure: Measure) -> bool:
    """Whether the evaluation wrote the measure: one that is newer than the file is not missed in it."""
    return measure.at.partition(".")[0] in file.values


def _parted(results: Sequence[Reading | Missing], measure: Measure) -> SeedNumbers:
    readings, missing = [], []
    for result in results:
        if isinstance(result, Reading):
            readings.append(result)
        else:
            missing.append(result)
    return SeedNumbers(readings, missing, measure.scale)
