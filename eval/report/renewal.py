"""What SEAL has over LLF and over Normal (long), by how often weight decay renews the weights: a study's sweep.

With BatchNorm the length of training counts by D, the sum over a generation's steps of rate times decay
(expected/regime/PROTOCOL.md). A sweep is of records that differ in decay, and in SEAL's ascent. A record of the same
images and network that was trained otherwise stands beside it: seen, and in no slope.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.claims.claim import ConditionName
from eval.claims.claim_list import load_claims
from eval.claims.conditions import check
from eval.claims.rule import Sample, half_width, p_value
from eval.report import outcomes
from eval.report.accuracy import end_of_training
from eval.report.document import Figure, as_csv
from eval.report.drawing import label
from eval.report.outcomes import Renewed
from eval.report.settings import Study
from seal.planning.counts import images_of
from seal.runs import RunFolder

OTHERS = ("llf", "normal_long")
CONDITIONS: tuple[ConditionName, ...] = ("R1", "R2", "R3")
# Of committed studies those whose runs are drawn beside them.
SWEEPS = {"regime": ("regime_d040", "regime_d015", "mini")}


def drawn_beside(record: Path) -> list[Path]:
    """Of a committed study's sweep the folders that are there, next to its own."""
    folders = [record.with_name(name) for name in SWEEPS.get(record.name, ())]
    return [folder for folder in folders if folder.is_dir()]


def renewal_figure(study: Study, others: Sequence[Study]) -> list[Figure]:
    """None where no other record is of the same images and network."""
    records = [study, *(other for other in others if _tasks(other) == _tasks(study))]
    if len(records) < 2:
        return []

    points: dict[str, list[Renewed]] = {}
    rows, captions = [], []
    for arm in OTHERS:
        of_arm = [*filter(None, (against(record, arm, study) for record in records))]
        of_arm.sort(key=lambda point: point.renewal)
        points[arm] = [point for point in of_arm if point.by_seed]
        if len(points[arm]) < 2:
            return []

        for point in points[arm]:
            cells = [arm, point.name, point.renewal, point.scale]
            rows += [[*cells, seed, difference] for seed, difference in point.by_seed.items()]
        captions.append(f"Less {label(arm)}: {'; '.join(map(words_of, of_arm))}. {slope_words(points[arm])}")

    caption = (
        "SEAL less LLF and less Normal (long), in points of test accuracy at the end, by D, how often weight decay "
        "renews the weights in a generation. Normal (long) is the arm whose rate restarts; ± is a mean's 95% interval "
        f"over seeds alone. {' '.join(captions)}"
    )
    name = f"{study.params.tier}-renewal"
    points_csv = as_csv(["less", "record", "renewal", "scale", "seed", "difference"], rows)
    return [Figure(name, caption, outcomes.against_renewal(points, name), caption, points_csv)]


def _tasks(study: Study) -> set[tuple[str, str]]:
    """Images and networks."""
    return {(run.summary["data_sha256"], str(run.summary["model"])) for run in study.runs}


def against(record: Study, arm: str, study: Study) -> Renewed | None:
    """SEAL's end less another arm's, seed by seed; of the study's sweep where training differs in decay alone. None
    where no seed has both."""
    by_seed, diverged = {}, 0
    for run in record.runs.of("seal"):
        other = record.runs.get(arm, run.seed)
        if other is None:
            continue

        ours, theirs = end_of_training(run), end_of_training(other)
        if ours and theirs:
            by_seed[run.seed] = 100 * (ours["test_accuracy"] - theirs["test_accuracy"])
        elif run.diverged_in is not None or other.diverged_in is not None:
            diverged += 1

    if not by_seed and not diverged:
        return None
    run = record.runs.of("seal")[0]
    name = "" if _but_decay(record) == _but_decay(study) else record.params.tier
    scale = float(run.settings["ascent_lr_scale"])
    return Renewed(renewal_of(record, run), scale, name, by_seed, failing(record, arm, [*by_seed]), diverged)


def failing(record: Study, arm: str, seeds: Sequence[int]) -> list[str]:
    """Which of R1 to R3 do not hold for these seeds' runs of SEAL and of the other arm."""
    used = {*itertools.product(("seal", arm), seeds)}
    bounds = load_claims().conditions_of(record.params.tier)
    return [name for name in CONDITIONS if not check(name, bounds[name], record.runs, used).passed]


def _but_decay(study: Study) -> dict[str, Any]:
    return {key: value for key, value in study.values["training"].items() if key != "weight_decay"}


def renewal_of(study: Study, run: RunFolder) -> float:
    """D of a run's generation, to three digits: of the late side, which never ascends."""
    training = run.summary["training"]
    steps = math.ceil(images_of(study.params.source, study.params).train / training["batch_size"])
    rates = [row["lr_late"] for row in run.history if row["generation"] == 1]
    return float(f"{math.fsum(rates) * steps * training['weight_decay']:.3g}")


def words_of(point: Renewed) -> str:
    where = f"{point.name}, " if point.name else ""
    if not point.by_seed:
        return f"none at D = {point.renewal:g} ({where}S = {point.scale:g}, {point.diverged} diverged)"

    seeds = f"{len(point.by_seed)} seed{'s' if len(point.by_seed) > 1 else ''}"
    half = "" if point.half is None else f" ± {point.half:.1f}"
    diverged = f", {point.diverged} more diverged" if point.diverged else ""
    conditions = f", {' and '.join(point.failing)} not met" if point.failing else ""
    evidence = f"{where}S = {point.scale:g}, {seeds}{diverged}{conditions}"
    return f"{point.mean:+.1f}{half} at D = {point.renewal:g} ({evidence})"


def slope_words(points: Sequence[Renewed]) -> str:
    """The slope over the sweep's D with its two-sided p."""
    slopes = slopes_by_seed([point for point in points if not point.name])
    if len(slopes) < 2:
        return "No slope: fewer than two seeds have a difference at each of two D."

    sample = Sample((*slopes,))
    return (
        f"Slope over D {sample.mean:+.2f} ± {half_width(sample):.2f} points (95%, {len(slopes)} seeds, two-sided "
        f"p = {p_value(sample):.2g})."
    )


def slopes_by_seed(points: Sequence[Renewed]) -> list[float]:
    """Least squares of a seed's differences over D, for each seed that has one at every D; none for a single D."""
    renewals = [point.renewal for point in points]
    if len(set(renewals)) < 2:
        return []

    complete = set.intersection(*(set(point.by_seed) for point in points))
    slopes = []
    for seed in sorted(complete):
        line = statistics.linear_regression(renewals, [point.by_seed[seed] for point in points])
        slopes.append(line.slope)
    return slopes
