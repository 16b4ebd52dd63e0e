"""Accuracy on the images that the networks were trained on, from the runs' own summaries: Tables 2 and 7 of the paper,
the figure of them, and the last weights beside the best."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.claims.paper import paper_number
from eval.report import outcomes
from eval.report.cells import NOTHING, beside, in_brackets, percent, with_diverged
from eval.report.document import Figure, Table, as_csv
from eval.report.drawing import label
from seal.runs import RunFolder, Runs
from seal.sections import BASE_ARM

PaperAccuracy = Callable[[str, int], float | None]  # of an arm and a generation
PAPER_GENERATIONS = (1, 3, 10)  # of Tables 2 and 7
NOTE = "Last weights of each generation. Generation 1 is the same for all that share it."


def table_2(runs: Runs, arms: Sequence[str], paper: PaperAccuracy) -> Table:
    """Test accuracy at the end of each generation, an arm a row; beside it the paper's last where ours end earlier."""
    generations = trained_generations(runs, arms)
    last = PAPER_GENERATIONS[-1]
    at_its_end = {arm: paper(arm, last) for arm in arms if generations and last > generations[-1]}
    goes_on = any(at_its_end.values())

    rows, seeds = [], {}
    for arm in arms:
        row = [label(arm)]
        for generation in generations:
            row.append(_accuracy_cell(runs.of(arm), generation, paper(arm, generation)))
        if goes_on:
            row.append(in_brackets(at_its_end[arm]))
        rows.append(row)
        seeds[label(arm)] = len(runs.of(arm))

    note = NOTE
    if len({*seeds.values()}) > 1:
        note += f" Seeds: {', '.join(f'{name} {count}' for name, count in seeds.items())}."
    columns = ["method", *(f"generation {generation}" for generation in generations)]
    columns += [f"the paper's generation {last}"] if goes_on else []
    return Table("Table 2: test accuracy, %", columns, rows, note=note)


def trained_generations(runs: Runs, arms: Sequence[str]) -> list[int]:
    generations: set[int] = set()
    for arm in arms:
        generations.update(ends_by_generation(runs.of(arm)))
    return sorted(generations)


def ends_by_generation(runs: Sequence[RunFolder]) -> dict[int, list[float]]:
    """Generation -> test accuracy at its end, of each seed that reached it."""
    ends: dict[int, list[float]] = {}
    for run in runs:
        for outcome in run.summary["outcomes"]:
            ends.setdefault(outcome["generation"], []).append(outcome["test_accuracy"])
    return dict(sorted(ends.items()))


def _accuracy_cell(runs: Sequence[RunFolder], generation: int, paper: float | None) -> str:
    accuracies = ends_by_generation(runs).get(generation, [])
    diverged = 0
    for run in runs:
        diverged += run.diverged_in is not None and run.diverged_in <= generation

    ours = with_diverged(percent(accuracies), diverged)
    return ours if ours == NOTHING else beside(ours, paper)


def accuracy_figure(name: str, runs: Runs, arms: Sequence[str], table: str, caption: str) -> Figure:
    """Test accuracy by generation, and beside it what a table of the paper has of these arms; "": none."""
    ends = {arm: ends_by_generation(runs.of(arm)) for arm in arms}
    svg = outcomes.accuracy_by_generation(ends, published(arms, table) if table else {}, name)
    return Figure(name, caption, svg, alternative(ends), points(runs, arms))


def published(arms: Sequence[str], table: str) -> dict[str, dict[int, float]]:
    """Fractions, of the arms that it has after more than one generation; generation 1 is the same for all."""
    first = paper_number("table_2", BASE_ARM, 1)
    numbers: dict[str, dict[int, float]] = {}
    for arm in arms:
        if arm == "normal_long_cosine":  # the paper has one Normal (long)
            continue

        fractions = {}
        for generation in PAPER_GENERATIONS:
            number = first if generation == 1 else paper_number(table, arm, generation)
            if number is not None:
                fractions[generation] = number / 100
        if len(fractions) > 1:
            numbers[arm] = fractions
    return numbers


def alternative(ends: Mapping[str, Mapping[int, Sequence[float]]]) -> str:
    """The figure in words: each arm's mean, generation by generation."""
    curves = []
    for arm, by_generation in ends.items():
        means = []
        for seeds in by_generation.values():
            means.append(f"{100 * sum(seeds) / len(seeds):.1f}")
        curves.append(f"{label(arm)} {', '.join(means)}")
    return f"Mean test accuracy after each generation, %: {'; '.join(curves)}."


def points(runs: Runs, arms: Sequence[str]) -> str:
    rows = []
    for arm in arms:
        for run in runs.of(arm):
            for outcome in run.summary["outcomes"]:
                rows.append([arm, run.seed, outcome["generation"], outcome["test_accuracy"]])
    return as_csv(["arm", "seed", "generation", "test_accuracy"], rows)


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

    columns = ["method", "test, last", "test, best by validation", "training images, not augmented"]
    note = "The best are of any generation: where they are generation 1's, they are the same for all that share it."
    return Table("The last weights, and those best on the validation images; accuracy, %", columns, rows, note)


def end_of_training(run: RunFolder) -> dict[str, Any] | None:
    """What the summary says of the run's end; None where it diverged before."""
    final = run.summary["final"]
    return dict(final) if final and run.diverged_in is None else None
