"""Accuracy on the images that the networks were trained on, from the runs' own summaries: Tables 2 and 7 of the paper,
and the last weights beside the best."""

from collections.abc import Callable, Sequence
from typing import Any

from eval.report.cells import NOTHING, beside, percent, with_diverged
from eval.report.document import Table
from eval.report.drawing import label
from seal.runs import RunFolder, Runs

PaperAccuracy = Callable[[str, int], float | None]  # of an arm and a generation


def table_2(runs: Runs, arms: Sequence[str], paper: PaperAccuracy) -> Table:
    """Test accuracy at the end of each generation, an arm a column."""
    rows = []
    for generation in _trained_generations(runs, arms):
        row = [f"Gen={generation}"]
        for arm in arms:
            row.append(_accuracy_cell(runs.of(arm), generation, paper(arm, generation)))
        rows.append(row)

    note = "Last weights of each generation. Generation 1 is the same for all that share it."
    seeds = [len(runs.of(arm)) for arm in arms]
    names = [*map(label, arms)]
    if len({*seeds}) > 1:
        note += f" Seeds: {', '.join(map('{} {}'.format, names, seeds))}."
    return Table("Table 2: test accuracy, %", ["Generation", *names], rows, note=note)


def _trained_generations(runs: Runs, arms: Sequence[str]) -> list[int]:
    generations = set()
    for arm in arms:
        for run in runs.of(arm):
            for outcome in run.summary["outcomes"]:
                generations.add(outcome["generation"])
    return sorted(generations)


def _accuracy_cell(runs: Sequence[RunFolder], generation: int, paper: float | None) -> str:
    accuracies, diverged = [], 0
    for run in runs:
        for outcome in run.summary["outcomes"]:
            if outcome["generation"] == generation:
                accuracies.append(outcome["test_accuracy"])
        if run.diverged_in is not None and run.diverged_in <= generation:
            diverged += 1

    ours = with_diverged(percent(accuracies), diverged)
    return ours if ours == NOTHING else beside(ours, paper)


def best_and_last(runs: Runs) -> Table:
    """The last weights beside those best on the validation images."""
    rows = []
    for arm in runs.arms:
        last, best, clean = [], [], []
        for run in runs.of(arm):
            final = end_of_training(run)
            if final:
                last.append(final["test_accuracy"])
                clean.append(final["clean_accuracy"])
            if final and final["best"]:
                best.append(final["best"]["test_accuracy"])

        diverged = len(runs.of(arm)) - len(last)
        rows.append([label(arm), with_diverged(percent(last), diverged), percent(best), percent(clean)])

    columns = ["", "test, last", "test, best by validation", "training images, not augmented"]
    return Table("The last weights, and those best on the validation images; accuracy, %", columns, rows)


def end_of_training(run: RunFolder) -> dict[str, Any] | None:
    """What the summary says of the run's end; None where it diverged before."""
    final = run.summary["final"]
    return dict(final) if final and run.diverged_in is None else None
