"""What SEAL has over LLF and over Normal (long), by how often weight decay renews the weights: the sweep of a study.

With BatchNorm the length of training counts by D, the sum over a generation's steps of rate times decay
(expected/regime/PROTOCOL.md). A sweep is of arms that change their method's arm in decay, and perhaps in the ascent.
Another record of the same images and network, by another tier, stands beside the sweep: seen, and in no slope.
"""

import math
import statistics
from collections.abc import Sequence

from eval.claims.rule import Sample, half_width, p_value
from eval.report import outcomes
from eval.report.accuracy import end_of_training
from eval.report.document import Figure, as_csv
from eval.report.drawing import label
from eval.report.judged import Judged
from eval.report.outcomes import Renewed
from eval.report.settings import Study
from seal.config import BASE_ARM
from seal.planning.counts import images_of
from seal.runs import RunFolder

SWEPT = {"weight_decay", "ascent_lr_scale", "ascent_epochs", "on_divergence"}  # what an arm of the sweep may change
OTHERS = ("llf", "normal_long")
Ends = dict[tuple[float, int], RunFolder]  # D and seed -> the run, which has come to its end


def renewal_figure(judged: Judged, others: Sequence[Judged] = ()) -> list[Figure]:
    """None where no other decay has been run. `others` are records of other tiers."""
    arms = {*judged.study.runs.arms} - {BASE_ARM}
    if not any("weight_decay" in judged.study.params.changes(arm) for arm in arms):
        return []

    beside = [other.study for other in others if _same_task(other.study, judged.study)]
    points, rows, captions = {}, [], []
    for arm in OTHERS:
        of_sweep = against(judged.study, arm)
        if not of_sweep:
            return []

        points[arm] = list(of_sweep)
        for study in beside:
            points[arm] += against(study, arm)
        for point in points[arm]:
            cells = (point.tier, point.renewal, point.scale)
            rows += [[arm, *cells, seed, difference] for seed, difference in point.by_seed.items()]
        means = "; ".join(words_of(point, judged.tier) for point in points[arm])
        captions.append(f"Less {label(arm)}: {means}. {slope_words(of_sweep)}")

    caption = (
        "SEAL less LLF and less Normal (long), in points of test accuracy at the end, by D, how often weight decay "
        f"renews the weights in a generation; ± is a mean's 95% interval over seeds. {' '.join(captions)}"
    )
    name = f"{judged.tier}-renewal"
    points_csv = as_csv(["less", "tier", "renewal", "scale", "seed", "difference"], rows)
    return [Figure(name, caption, outcomes.against_renewal(points, judged.tier, name), caption, points_csv)]


def _same_task(study: Study, other: Study) -> bool:
    """Whether both are of the same images and the same network."""
    return _tasks(study) == _tasks(other)


def _tasks(study: Study) -> set[tuple[str, str]]:
    return {(run.summary["data_sha256"], str(run.summary["model"])) for run in study.runs}


def against(study: Study, other: str) -> list[Renewed]:
    """SEAL's end less the other method's, seed by seed, at each decay at which both have been run; D rises."""
    ours, theirs = swept(study, "seal"), swept(study, other)
    points: dict[tuple[float, float], dict[int, float]] = {}
    for renewal, seed in sorted(ours.keys() & theirs.keys()):
        run = ours[renewal, seed]
        place = (renewal, float(run.settings["ascent_lr_scale"]))
        difference = 100 * (_accuracy(run) - _accuracy(theirs[renewal, seed]))
        points.setdefault(place, {})[seed] = difference
    return [Renewed(*place, study.params.tier, by_seed) for place, by_seed in points.items()]


def swept(study: Study, method: str) -> Ends:
    """Of the method's own arm, and of those that change its decay."""
    ends = {}
    for run in study.runs:
        if run.summary["method"] != method or not _is_of_the_sweep(study, run.arm):
            continue
        if end_of_training(run):
            ends[renewal_of(study, run), run.seed] = run
    return ends


def _accuracy(run: RunFolder) -> float:
    final = end_of_training(run)
    assert final
    return float(final["test_accuracy"])


def _is_of_the_sweep(study: Study, arm: str) -> bool:
    if arm == BASE_ARM:
        return False
    changes = study.params.changes(arm).keys()
    return not changes or ("weight_decay" in changes and changes <= SWEPT)


def renewal_of(study: Study, run: RunFolder) -> float:
    """D of a run's generation, to three digits: of the late side, which never ascends."""
    training = run.summary["training"]
    steps = math.ceil(images_of(study.params.source, study.params).train / training["batch_size"])
    rates = [row["lr_late"] for row in run.history if row["generation"] == 1]
    return float(f"{math.fsum(rates) * steps * training['weight_decay']:.3g}")


def words_of(point: Renewed, tier: str) -> str:
    where = "" if point.tier == tier else f"{point.tier}, "
    seeds = f"{len(point.by_seed)} seed{'s' if len(point.by_seed) > 1 else ''}"
    return f"{point.mean:+.1f}{_plus_minus(point.half)} at D = {point.renewal:g} ({where}S = {point.scale:g}, {seeds})"


def _plus_minus(half: float | None) -> str:
    return "" if half is None else f" ± {half:.1f}"


def slope_words(points: Sequence[Renewed]) -> str:
    """The slope over D with its two-sided p, of the seeds that have a difference at each D of the sweep."""
    slopes = slopes_by_seed(points)
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
