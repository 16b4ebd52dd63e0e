"""The methods that forget and relearn beside each other at one budget: a table and a figure, no verdict on the paper.

An arm is shown here whose record says how far a generation moved it, and the tier's main arms beside such.
"""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit  # type: ignore[import-untyped]

from eval.report import figures
from eval.report.accuracy import end_of_training, table_2
from eval.report.cells import NOTHING, mean_and_spread
from eval.report.document import Figure, Section, Table
from eval.report.drawing import label
from eval.report.overview import overview
from eval.report.settings import Study
from seal.runs import RunFolder, Runs

# What the outcome of a run's end says of its method: words, key, scale and digits.
MEASURED = (
    ("live weights, %", "live_share", 100, 1),
    ("steps that climb, %", "climbing_share", 100, 1),
    ("distance from the last generation's end, early side", "moved_early", 1, 2),
    ("distance from the last generation's end, late side", "moved_late", 1, 2),
)


def relearning(study: Study) -> Section | None:
    """None where no such method has been run."""
    runs, others = study.runs, [arm for arm in study.runs.arms if arm not in study.main_arms]
    arms = [arm for arm in others if any("moved_late" in (run.summary["final"] or {}) for run in runs.of(arm))]
    if not arms:
        return None

    shown = [*study.main_arms, *arms]
    text = [
        "Each arm trains for as many epochs, from the same generation 1 where its method leaves that alone. These are "
        "comparisons of this project: no claim of the paper rests on them.",
    ]
    return Section("Forget and relearn at one budget", text=text, parts=[table(runs, shown), figure(runs, shown)])


def table(runs: Runs, arms: Sequence[str]) -> Table:
    """Accuracy by generation, what the evaluations found, and what the method did to the network; an arm a column."""
    accuracy = table_2(runs, arms, lambda arm, generation: None).rows
    rows: list[Sequence[str]] = [[f"test accuracy, {generation}, %", *cells] for generation, *cells in accuracy]
    rows.append(["at the end, 95% interval over seeds", *(interval(runs.of(arm)) for arm in arms)])
    rows += overview(runs, arms).rows

    for words, key, scale, digits in MEASURED:
        cells = [_measured(runs.of(arm), key, scale, digits) for arm in arms]
        if {*cells} != {NOTHING}:
            rows.append([words, *cells])

    note = "Of the last generation where no other is named. Without masks all weights live; distances are L2."
    return Table("Forget and relearn at one budget", ["", *map(label, arms)], rows, note)


def interval(runs: Sequence[RunFolder]) -> str:
    """Of the mean test accuracy at the end of training, by Student's t."""
    ends = [100 * final["test_accuracy"] for final in map(end_of_training, runs) if final]
    if not ends:
        return NOTHING
    if len(ends) == 1:
        return "one seed"

    half = float(stdtrit(len(ends) - 1, 0.975)) * statistics.stdev(ends) / math.sqrt(len(ends))
    mean = statistics.mean(ends)
    return f"{mean - half:.2f} to {mean + half:.2f}"


def figure(runs: Runs, arms: Sequence[str]) -> Figure:
    curves: dict[str, dict[int, float]] = {}
    for arm in arms:
        by_generation: dict[int, list[float]] = {}
        for run in runs.of(arm):
            for outcome in run.summary["outcomes"]:
                by_generation.setdefault(outcome["generation"], []).append(outcome["test_accuracy"])
        curves[arm] = {generation: statistics.mean(seeds) for generation, seeds in sorted(by_generation.items())}

    alone = [label(arm) for arm in arms if len(runs.of(arm)) == 1]
    caption = "Test accuracy at each generation's end, mean over seeds."
    if alone:
        caption += f" One seed: {', '.join(alone)}."
    svg = figures.accuracy_by_generation(curves)
    return Figure("relearning", caption, svg, "test accuracy by generation, a line for each method")


def _measured(runs: Sequence[RunFolder], key: str, scale: float, digits: int) -> str:
    ends = [final[key] for final in map(end_of_training, runs) if final and key in final]
    return mean_and_spread(ends, scale, digits)
