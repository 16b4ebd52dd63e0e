"""How long a submission still takes, by what stages of the same kind took here. `seal status` prints it."""

import statistics
import time
from collections.abc import Sequence

from seal.cluster.stages import kind, needs_among
from seal.cluster.status import OPEN, Row, stages_in
from seal.cluster.submission import Submission
from seal.planning.places import schedule
from seal.planning.show import duration
from seal.record import TIMINGS, read_timings


def time_left(submission: Submission, rows: Sequence[Row]) -> list[str]:
    """A sentence on what is at work or waits; none where nothing is."""
    still = stages_in(rows, OPEN)
    if not still:
        return []

    left: dict[str, float] = {}
    unknown = set[str]()
    for stage in still:
        seconds = seconds_of_kind(stage)
        if seconds is None:
            unknown.add(kind(stage))
        else:
            left[stage] = max(0.0, seconds - seconds_at_work(submission, stage))
    if unknown:
        return [f"no time left to name: no {', '.join(sorted(unknown))} has ended here yet"]

    facts = submission.facts
    needs = needs_among(facts["needs"], still)
    places = facts["places"] or max(1, len(stages_in(rows, ["running"])))
    return [f"about {duration(schedule(needs, left, places).makespan)} left, {places} at once"]


def seconds_at_work(submission: Submission, stage: str) -> float:
    mark = submission.mark(stage)
    return time.time() - mark["since"] if mark is not None and mark["state"] == "running" else 0.0


def seconds_of_kind(stage: str) -> float | None:
    """The median over the last times of such stages; None where there is none."""
    took = []
    for path in TIMINGS.glob(f"{kind(stage)}@*.csv"):
        rows = read_timings(path)
        if rows:
            took.append(float(rows[-1]["seconds"]))
    return statistics.median(took) if took else None
