"""How long a submission still takes, by what stages of the same kind took here. `seal status` prints it."""

import statistics
import time
from collections.abc import Sequence

from seal.cluster.stages import kind, needs_among
from seal.cluster.status import OPEN, Row, stages_in
from seal.cluster.submission import Submission
from seal.config import Params, load_params
from seal.planning.earlier import has_active_parameters
from seal.planning.places import schedule
from seal.planning.show import duration
from seal.record import TIMINGS
from seal.stage_names import parts
from seal.timings import read_timings


def time_left(submission: Submission, rows: Sequence[Row]) -> list[str]:
    """A sentence on what is at work or waits; none where nothing is."""
    still = stages_in(rows, OPEN)
    if not still:
        return []

    left: dict[str, float] = {}
    unknown, params = set[str](), load_params(submission.files / "params.yaml")
    for stage in still:
        seconds = seconds_of_kind(kind(stage), submission, params)
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


def seconds_of_kind(name: str, submission: Submission, params: Params) -> float | None:
    """The median over the last times of such stages, as done by this submission or before by its parameters; None where
    there is none."""
    took = []
    for path in TIMINGS.glob(f"{name}@*.csv"):
        mark, rows = submission.mark(path.stem), read_timings(path)
        done_here = mark is not None and mark["state"] == "done"
        if rows and (done_here or has_active_parameters(parts(path.stem), params)):
            took.append(float(rows[-1]["seconds"]))
    return statistics.median(took) if took else None
