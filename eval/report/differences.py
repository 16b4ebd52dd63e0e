"""A group's differences in one figure, each with its interval and the sign of its verdict."""

from eval.report import outcomes
from eval.report.document import Figure, as_csv
from eval.report.judged import Judged
from eval.report.outcomes import Difference
from eval.report.verdicts import deciding, interval_of
from seal.record import ROUNDING


def differences_figure(judged: Judged, area: str) -> list[Figure]:
    """Of the group's claims that the record bears on; none where there is none."""
    shown = []
    for claim in judged.claims_of(area):
        worst = deciding(claim)
        if worst:
            shown.append(Difference(claim["id"], claim["verdict"], claim["unit"], worst["mean"], interval_of(worst)))
    if not shown:
        return []

    name = f"{judged.tier}-{area}-differences"
    positive = sum(difference.mean > ROUNDING for difference in shown)
    alt = f"Differences of {len(shown)} claims with their intervals; {positive} have the claimed sign."
    caption = f"Each claim's deciding difference and its interval; {positive} of {len(shown)} have the claimed sign."

    rows = []
    for difference in shown:
        interval = difference.interval or ("", "")
        rows.append([difference.name, difference.verdict, difference.unit, difference.mean, *interval])
    points = as_csv(["claim", "verdict", "unit", "difference", "low", "high"], rows)
    return [Figure(name, caption, outcomes.differences(shown, name), alt, points)]
