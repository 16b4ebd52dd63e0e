"""One number of each evaluation, an arm a column: a table over all that EVALUATIONS says is shown."""

from collections.abc import Iterator, Sequence

from eval.report.cells import NOTHING, below_limit, over_seeds
from eval.report.document import Table
from eval.report.drawing import label
from eval.report.numbers import keys, last_numbers, second_and_last
from seal.evaluations import EVALUATIONS
from seal.measure import Cell, Measure
from seal.runs import RunFolder, Runs


def overview(runs: Runs, arms: Sequence[str]) -> Table:
    """Each seed's last generation that was evaluated; mean and deviation over seeds. No row without any number."""
    rows = []
    for evaluation, measure in _shown_measures():
        for words, cell in _cells(runs, evaluation, measure):
            texts = [_text(runs.of(arm), evaluation, measure, cell) for arm in arms]
            if {*texts} != {NOTHING}:
                rows.append([words, *texts])
    return Table("One number of each evaluation of the last generation", ["number", *map(label, arms)], rows)


def _shown_measures() -> Iterator[tuple[str, Measure]]:
    for name, evaluation in EVALUATIONS.items():
        for measure in evaluation.measures.values():
            if measure.shown:
                yield name, measure


def _cells(runs: Runs, evaluation: str, measure: Measure) -> Iterator[tuple[str, Cell]]:
    """The words and the cell of each row that a measure has."""
    targets: list[str | None] = [*runs.targets(evaluation)] if EVALUATIONS[evaluation].targeted else [None]
    for target in targets:
        for block, cell in _cells_of_target(runs, evaluation, measure, target):
            yield measure.words.format(target=target, shot=cell.shot, block=block), cell


def _cells_of_target(
    runs: Runs, evaluation: str, measure: Measure, target: str | None
) -> Iterator[tuple[str | None, Cell]]:
    """Of a measure over blocks two of them, with the words for each; of one over shots its own, or all."""
    if measure.cell or not measure.over:
        yield None, Cell(target, **(measure.cell or {}))
        return

    known = keys(runs, evaluation, measure, target)
    if measure.over == "shot":
        for shot in known:
            yield None, Cell(target, shot=int(shot))
    else:
        for words, block in second_and_last(known).items():
            yield words, Cell(target, block=block)


def _text(runs: Sequence[RunFolder], evaluation: str, measure: Measure, cell: Cell) -> str:
    numbers = last_numbers(runs, evaluation, measure, cell)
    return below_limit(numbers) or over_seeds(numbers, measure.digits)
