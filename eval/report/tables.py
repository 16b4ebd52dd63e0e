"""The paper's tables of evaluations, its numbers beside ours: Tables 1, 4 and 5, 6, and depth."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from eval.report.cells import NOTHING, below_limit, beside, mean_of, over_seeds, why_none
from eval.report.document import Table
from eval.report.drawing import label
from eval.report.numbers import (
    evaluated_generations,
    keys,
    last_numbers,
    numbers_of_generation,
    second_and_last,
)
from seal.evaluations import EVALUATIONS
from seal.measure import Cell
from seal.runs import RunFolder, Runs

RULES = {"transfer": "highest test accuracy", "transfer_validation": "rate by validation"}
FEW_SHOT = {"fewshot": "Linear", "fewshot_affines": "Linear+Affines"}
FEW_SHOT_NOTE = (
    "Mean over episodes and seeds; ± is 1.96 standard errors over the episodes of the first seed, as in the paper."
)
SOLVERS = {"lanczos": "", "power": "_power"}  # and what their measures' names end in
HESSIAN = EVALUATIONS["hessian"].measures
DEPTH = EVALUATIONS["prediction_depth"].measures


def table_1(runs: Runs, arms: Sequence[str], paper: Callable[[str, str], float | None]) -> Table:
    """Linear probes: the paper's rule, and beside it the rate chosen on validation images."""
    targets = runs.targets("transfer")
    rows = []
    for arm in arms:
        for rule, words in RULES.items():
            cells = []
            for target in targets:
                numbers = last_numbers(runs.of(arm), "transfer", EVALUATIONS["transfer"].measures[rule], Cell(target))
                cells.append(beside(over_seeds(numbers), paper(arm, target) if rule == "transfer" else None))
            rows.append([label(arm), words, *cells])

    return Table("Table 1: linear probes, accuracy, %", ["method", "rule", *targets], rows)


def tables_4_and_5(runs: Runs, arms: Sequence[str], paper: Callable[[str, str, str, int], float | None]) -> list[Table]:
    """Few-shot accuracy, a table for each target, shots as columns."""
    shots, tables = _shots(runs), []
    for target in few_shot_targets(runs):
        rows = []
        for evaluation, words in FEW_SHOT.items():
            for arm in arms:
                cells = []
                for shot in shots:
                    published = paper(evaluation, arm, target, shot)
                    cells.append(_few_shot_cell(runs.of(arm), evaluation, Cell(target, shot), published))
                if {*cells} != {NOTHING}:
                    rows.append([label(arm), words, *cells])

        columns = ["method", "updated", *(f"{shot}-shot" for shot in shots)]
        tables.append(Table(f"Tables 4 and 5, {target}: five-way few-shot, accuracy, %", columns, rows))

    if tables:
        tables[-1] = replace(tables[-1], note=FEW_SHOT_NOTE)
    return tables


def few_shot_targets(runs: Runs) -> list[str]:
    targets: dict[str, None] = {}
    for evaluation in FEW_SHOT:
        targets |= dict.fromkeys(runs.targets(evaluation))
    return list(targets)


def _shots(runs: Runs) -> list[int]:
    """The shots that any run has for any target."""
    shots: set[int] = set()
    for evaluation in FEW_SHOT:
        measure = EVALUATIONS[evaluation].measures[evaluation]
        for target in runs.targets(evaluation):
            shots.update(map(int, keys(runs, evaluation, measure, target)))
    return sorted(shots)


def _few_shot_cell(runs: Sequence[RunFolder], evaluation: str, cell: Cell, paper: float | None) -> str:
    numbers = last_numbers(runs, evaluation, EVALUATIONS[evaluation].measures[evaluation], cell)
    if not numbers.readings:
        return why_none(numbers)

    mean, first = mean_of(numbers.values, numbers.scale), numbers.readings[0]
    interval = numbers.scale * (first.interval or 0.0)
    return beside(f"{mean:.2f} ± {interval:.2f}", paper)


def table_6(runs: Runs, arms: Sequence[str], paper: Callable[[str, str], float | None]) -> Table:
    """Hessian: largest eigenvalue and share of negative ones, by each solver that was asked for."""
    rows = []
    for solver, ending in SOLVERS.items():
        for arm in arms:
            largest = last_numbers(runs.of(arm), "hessian", HESSIAN[f"max_eigenvalue{ending}"])
            if not largest.readings:
                continue
            negative = last_numbers(runs.of(arm), "hessian", HESSIAN[f"negative_fraction{ending}"])
            batches = last_numbers(runs.of(arm), "hessian", HESSIAN[f"batches{ending}"])

            eigenvalue = beside(f"{mean_of(largest.values):.2f}", paper(arm, "max_eigenvalue"))
            share = below_limit(negative) or f"{mean_of(negative.values, negative.scale):.2f}"
            share = beside(share, paper(arm, "negative_percent"))
            rows.append([label(arm), solver, eigenvalue, share, f"{batches.values[0]:.0f}"])

    columns = ["method", "solver", "largest eigenvalue", "negative, %", "batches"]
    return Table("Table 6: the Hessian's largest eigenvalues of each batch, by magnitude", columns, rows)


def depth_table(runs: Runs, arms: Sequence[str]) -> Table:
    """Prediction depth by generation, and the probes of the second block, of which the paper speaks, and the last."""
    places = second_and_last(keys(runs, "prediction_depth", DEPTH["knn_accuracy"]))
    rows = []
    for arm in arms:
        seeds = runs.of(arm)
        for generation in evaluated_generations(seeds, "prediction_depth"):
            depths = numbers_of_generation(seeds, "prediction_depth", DEPTH["mean_depth"], generation)
            probes = []
            for block in places.values():
                cell = Cell(block=block)
                probe = numbers_of_generation(seeds, "prediction_depth", DEPTH["knn_accuracy"], generation, cell)
                probes.append(over_seeds(probe))
            rows.append([label(arm), str(generation), f"{mean_of(depths.values):.2f}", *probes])

    columns = [f"{words.removeprefix('the ')}, %" for words in places]
    caption = "Prediction depth, in blocks, and the probes' accuracy"
    return Table(caption, ["method", "generation", "mean depth", *columns], rows)
