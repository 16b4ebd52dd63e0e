"""The methods that forget and relearn beside each other at one budget: a table and a figure, no verdict on the paper.

An arm is shown here whose record says how far a generation moved it, and the tier's main arms beside such.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from eval.claims.rule import Sample, half_width
from eval.report.accuracy import accuracy_figure, end_of_training, table_2
from eval.report.cells import NOTHING, mean_and_spread
from eval.report.document import Figure, Section, Table, not_empty
from eval.report.drawing import label
from eval.report.judged import Judged
from eval.report.overview import overview
from seal.runs import RunFolder, Runs

STEPS = Path("benchmarks/methods.csv")  # of benchmarks/methods.py
# What the outcome of a run's end says of its method: words, key, scale and digits.
MEASURED = (
    ("live weights, %", "live_share", 100, 1),
    ("steps that climb, %", "climbing_share", 100, 1),
    ("distance, early side", "moved_early", 1, 2),
    ("distance, late side", "moved_late", 1, 2),
)


def relearning(judged: Judged) -> Section | None:
    """None where no such method has been run."""
    runs, main_arms = judged.study.runs, judged.study.main_arms
    arms = []
    for arm in runs.arms:
        if arm not in main_arms and _says_how_far_it_moved(runs.of(arm)):
            arms.append(arm)
    if not arms:
        return None

    shown = [*main_arms, *arms]
    title, anchor = f"Forget-and-relearn at one budget, {judged.tier}", judged.anchor("relearning")
    parts = not_empty([table(runs, shown), evaluated(runs, shown), figure(judged.tier, runs, shown)])
    return Section(title, anchor, parts=parts)


def _says_how_far_it_moved(runs: Sequence[RunFolder]) -> bool:
    return any("moved_late" in (run.summary["final"] or {}) for run in runs)


def table(runs: Runs, arms: Sequence[str]) -> Table:
    """Accuracy by generation, its interval, and what the method did to the network; an arm a row."""
    accuracy = table_2(runs, arms, lambda arm, generation: None)
    names, columns = [*accuracy.columns, "95% interval of the last"], []
    for words, key, scale, digits in MEASURED:
        column = [_measured(runs.of(arm), key, scale, digits) for arm in arms]
        if {*column} != {NOTHING}:
            names.append(words)
            columns.append(column)

    prices = step_prices()
    if prices:
        names.append("a step beside normal's")
        columns.append([prices.get(arm, NOTHING) for arm in arms])

    rows = []
    for arm, cells, *measured in zip(arms, accuracy.rows, *columns, strict=True):
        rows.append([*cells, interval(runs.of(arm)), *measured])

    note = (
        "Test accuracy, %. A generation has as many epochs in every arm, and a seed's generation 1 is the same where "
        "the method leaves that alone; arms may end after different generations, so compare within a column, and arms "
        "of one seed with that seed's. Without masks all weights live; distances are L2, from the last generation's "
        "end."
    )
    return Table("Forget and relearn at one budget", names, rows, note)


def step_prices() -> dict[str, str]:
    """Arm -> what a step takes in units of normal training's, as committed; nothing where it was not measured."""
    if not STEPS.exists():
        return {}

    prices = {}
    with STEPS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            prices[row["arm"]] = f"{float(row['step_beside_normal']):.2f}"
    return prices


def evaluated(runs: Runs, arms: Sequence[str]) -> Table:
    """What the evaluations say of the same arms, an arm a row."""
    by_number = overview(runs, arms)
    names, *by_arm = zip(by_number.columns, *by_number.rows, strict=True)
    rows = [*map(list, by_arm)] if by_number.rows else []
    note = "Of each arm's own last generation, which the table above shows; of one seed without ±."
    return Table(by_number.caption, ["method", *names[1:]], rows, note)


def interval(runs: Sequence[RunFolder]) -> str:
    """Of the mean test accuracy at the end of training, by Student's t."""
    ends = [100 * final["test_accuracy"] for final in filter(None, map(end_of_training, runs))]
    if not ends:
        return NOTHING
    if len(ends) == 1:
        return "one seed"

    sample = Sample((*ends,))
    half = half_width(sample)
    return f"{sample.mean - half:.2f} to {sample.mean + half:.2f}"


def figure(tier: str, runs: Runs, arms: Sequence[str]) -> Figure:
    alone = [label(arm) for arm in arms if len(runs.of(arm)) == 1]
    caption = "Test accuracy at each generation's end: lines are means, dots are seeds."
    if alone:
        caption += f" One seed: {', '.join(alone)}."
    return accuracy_figure(f"{tier}-relearning", runs, arms, "", caption)


def _measured(runs: Sequence[RunFolder], key: str, scale: float, digits: int) -> str:
    ends = []
    for final in filter(None, map(end_of_training, runs)):
        if key in final:
            ends.append(final[key])
    return mean_and_spread(ends, scale, digits)
