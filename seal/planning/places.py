"""How long stages take on several places at once: list scheduling by the plan's seconds.

`seal plan --places` prints it; `seal submit` and `seal status` ask for seconds.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seal.config import Params
from seal.planning.calibration import calibrate
from seal.planning.costs import work
from seal.planning.earlier import Earlier
from seal.planning.plan import line_of_stage

Needs = Mapping[str, Sequence[str]]  # stages, with those right above each


@dataclass(frozen=True)
class Schedule:
    """Of stages on places of one speed."""

    makespan: float  # s, to the end of the last stage
    critical_path: float  # s, the longest way through the graph
    used: float  # share of the places' time


def seconds_of(stages: Sequence[str], params: Params) -> dict[str, float]:
    """Of each stage on this machine, as `seal plan` says."""
    machine, earlier = calibrate(params), Earlier(params)
    costs = {stage: work(stage, params, machine.network) for stage in stages}
    return {stage: line_of_stage(stage, cost, machine, earlier).seconds for stage, cost in costs.items()}


def schedule(needs: Needs, seconds: Mapping[str, float], places: int) -> Schedule:
    """A stage begins when those it needs have ended and a place is free: of several the one with the longest way.

    At worst 2 - 1/N times the shortest makespan (Graham 1969, Bounds on multiprocessing timing anomalies). `needs` has
    each stage after those that it needs.
    """
    users: dict[str, list[str]] = {stage: [] for stage in needs}
    for stage, above in needs.items():
        for name in above:
            users[name].append(stage)

    way: dict[str, float] = {}  # from a stage's begin to the pipeline's end
    for stage in reversed([*needs]):
        way[stage] = seconds[stage] + max((way[user] for user in users[stage]), default=0.0)

    missing = {stage: len(above) for stage, above in needs.items()}
    ready = [(-way[stage], stage) for stage in needs if not missing[stage]]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now, free = 0.0, places
    while ready or running:
        while ready and free:
            _, stage = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[stage], stage))
            free -= 1

        now, ended = heapq.heappop(running)
        free += 1
        for user in users[ended]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, (-way[user], user))

    work_seconds = sum(seconds[stage] for stage in needs)
    return Schedule(now, max(way.values(), default=0.0), work_seconds / (now * places) if now else 0.0)
