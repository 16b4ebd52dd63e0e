"""Accuracy on the images that the networks were trained on, from the runs' own summaries: Tables 2 and 7 of the paper,
and the last weights beside the best."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from eval.report.cells import NOTHING, beside, percent, with_diverged
from eval.report.document import Table
from eval.report.figures import label
from seal.runs import RunFolder, Runs

PaperAccuracy = Callable[[str, int], float | None]  # of an arm and a generation


def table_2(runs: Runs, arms: Sequence[str], paper: PaperAccuracy) -> Table:
    """Test accuracy at the end of each generation, an arm a column."""
    generations: set[int] = set()
    for arm in arms:
        generations.update(_trained_generations(runs.of(arm)))

    rows = []
    for generation in sorted(generations):
        cells = [_accuracy_cell(runs.of(arm), generation, paper(arm, generation)) for arm in arms]
        rows.append([f"Gen={generation}", *cells])

    note = "Last weights of each generation. Generation 1 is the same for all that share it."
    seeds = {label(arm): len(runs.of(arm)) for arm in arms}
    if len({*seeds.values()}) > 1:
        counts = ", ".join(f"{arm} {count}" for arm, count in seeds.items())
        note += f" Seeds: {counts}."
    return Table("Table 2: test accuracy, %", ["Generation", *seeds], rows, note=note)


def _trained_generations(runs: Iterable[RunFolder]) -> set[int]:
    generations: set[int] = set()
    for run in runs:
        generations.update(outcome["generation"] for outcome in run.summary["outcomes"])
    return generations


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
        seeds = runs.of(arm)
        finals = [final for run in seeds if (final := end_of_training(run))]
        last = percent([final["test_accuracy"] for final in finals])
        best = percent([final["best"]["test_accuracy"] for final in finals if final["best"]])
        clean = percent([final["clean_accuracy"] for final in finals])
        rows.append([label(arm), with_diverged(last, len(seeds) - len(finals)), best, clean])

    columns = ["", "test, last", "test, best by validation", "training images, not augmented"]
    return Table("The last weights, and those best on the validation images; accuracy, %", columns, rows)


def end_of_training(run: RunFolder) -> dict[str, Any] | None:
    """What the summary says of the run's end; None where it diverged before."""
    final = run.summary["final"]
    return dict(final) if final and run.diverged_in is None else None
