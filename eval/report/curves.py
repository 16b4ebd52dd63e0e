"""The curves of the report's figures out of the runs' folders, as fractions."""

from collections.abc import Sequence

from eval.report.numbers import as_recorded, evaluated_generations, keys
from seal.evaluations import EVALUATIONS
from seal.measure import Cell
from seal.readings import Reading
from seal.runs import RunFolder, Runs

PROBE = EVALUATIONS["prediction_depth"].measures["knn_accuracy"]
ByGeneration = dict[int, list[list[float]]]  # one curve a seed


def probe_blocks(runs: Runs) -> list[str]:
    """The blocks whose probes have been measured; none without prediction depth."""
    return keys(runs, "prediction_depth", PROBE)


def probe_curves(runs: Runs, arms: Sequence[str], blocks: Sequence[str]) -> dict[str, ByGeneration]:
    """Each arm's kNN probes' accuracy over the blocks, of the arms that have been evaluated. Of a run that diverged
    none: its generation 1 would stand for its end."""
    curves: dict[str, ByGeneration] = {}
    for arm in arms:
        ended = [run for run in runs.of(arm) if run.diverged_in is None]
        for generation in evaluated_generations(ended, "prediction_depth"):
            seeds = [_curve(run, generation, blocks) for run in ended]
            curves.setdefault(arm, {})[generation] = [*filter(None, seeds)]
    return curves


def _curve(run: RunFolder, generation: int, blocks: Sequence[str]) -> list[float]:
    """Empty where the generation was not evaluated."""
    curve = []
    for block in blocks:
        accuracy = as_recorded(run, "prediction_depth", PROBE, generation, Cell(block=block))
        if isinstance(accuracy, Reading):
            curve.append(accuracy.value)
    return curve
