"""How long a submission still takes, by what stages of the same kind took here. `seal status` prints it."""

import statistics
import time
from collections.abc import Sequence

from seal.cluster.pipeline import kind
from seal.cluster.status import Row
from seal.cluster.submission import Submission
from seal.planning.places import schedule
from seal.planning.show import duration
from seal.record import TIMINGS, read_timings

OPEN = ("running", "waiting")


def time_left(submission: Submission, rows: Sequence[Row]) -> list[str]:
    """A sentence on what is at work or waits; none where nothing is."""
    still = [row.stage for row in rows if row.state in OPEN]
    if not still:
        return []

    seconds = {stage: seconds_of_kind(stage) for stage in still}
    unknown = sorted({kind(stage) for stage, known in seconds.items() if known is None})
    if unknown:
        return [f"no time left to name: no {', '.join(unknown)} has ended here yet"]

    left = {}
    for stage, known in seconds.items():
        mark = submission.mark(stage)
        begun = time.time() - mark["since"] if mark is not None and mark["state"] == "running" else 0.0
        left[stage] = max(0.0, (known or 0.0) - begun)
    facts = submission.facts
    places = facts["places"] or max(1, sum(row.state == "running" for row in rows))
    needs = {stage: [above for above in facts["needs"][stage] if above in still] for stage in still}
    return [f"about {duration(schedule(needs, left, places).makespan)} left, {places} at once"]


def seconds_of_kind(stage: str) -> float | None:
    """The median over the last times of such stages; None where there is none."""
    took = []
    for path in TIMINGS.glob(f"{kind(stage)}@*.csv"):
        took += [float(row["seconds"]) for row in read_timings(path)[-1:]]
    return statistics.median(took) if took else None
