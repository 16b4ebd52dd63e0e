"""What SEAL has over LLF and over Normal (long), by how often weight decay renews the weights: the sweep of a study.

With BatchNorm the length of training counts by D, the sum over a generation's steps of rate times decay
(expected/regime/PROTOCOL.md). A sweep is of arms that change their method's arm in decay, and perhaps in the ascent.
"""

import math
import statistics

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


def renewal_figure(judged: Judged) -> list[Figure]:
    """None where no other decay has been run."""
    arms = {*judged.study.runs.arms} - {BASE_ARM}
    if not any("weight_decay" in judged.study.params.changes(arm) for arm in arms):
        return []

    differences = {arm: against(judged.study, arm) for arm in OTHERS}
    if not all(differences.values()):
        return []

    name, rows, means = f"{judged.tier}-renewal", [], []
    for arm, points in differences.items():
        for point in points:
            rows.append([arm, point.renewal, point.seed, point.difference])
        for renewal, here in outcomes.differences_by_renewal(points).items():
            means.append(f"{statistics.fmean(here):+.1f} at D = {renewal:g} ({label(arm)}, {len(here)} seeds)")

    caption = (
        "SEAL less LLF and less Normal (long), in points of test accuracy at the end, by how often weight decay renews "
        f"the weights in a generation: {'; '.join(means)}."
    )
    points_csv = as_csv(["less", "renewal", "seed", "difference"], rows)
    return [Figure(name, caption, outcomes.against_renewal(differences, name), caption, points_csv)]


def against(study: Study, other: str) -> list[Renewed]:
    """SEAL's end less the other method's, seed by seed, at each decay at which both have been run."""
    ours, theirs = swept(study, "seal"), swept(study, other)
    points = []
    for renewal, seed in sorted(ours.keys() & theirs.keys()):
        points.append(Renewed(renewal, seed, 100 * (ours[renewal, seed] - theirs[renewal, seed])))
    return points


def swept(study: Study, method: str) -> dict[tuple[float, int], float]:
    """(D, seed) -> test accuracy at the end, of the method's own arm and of those that change its decay."""
    ends = {}
    for run in study.runs:
        if run.summary["method"] != method or not _is_of_the_sweep(study, run.arm):
            continue
        final = end_of_training(run)
        if final:
            ends[renewal_of(study, run), run.seed] = float(final["test_accuracy"])
    return ends


def _is_of_the_sweep(study: Study, arm: str) -> bool:
    if arm == BASE_ARM:
        return False
    changes = study.params.changes(arm).keys()
    return not changes or ("weight_decay" in changes and changes <= SWEPT)


def renewal_of(study: Study, run: RunFolder) -> float:
    """D of a run's generation, to two digits: of the late side, which never ascends."""
    training = run.summary["training"]
    steps = math.ceil(images_of(study.params.source, study.params).train / training["batch_size"])
    rates = [row["lr_late"] for row in run.history if row["generation"] == 1]
    return float(f"{math.fsum(rates) * steps * training['weight_decay']:.2g}")
