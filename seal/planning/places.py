"""How long stages take on several places at once: list scheduling by the plan's seconds.

`seal plan --places` prints it; `seal submit` and `seal status` ask for seconds.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from operator import attrgetter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seal.config import Params
from seal.errors import UserError
from seal.planning.calibration import calibrate
from seal.planning.costs import work
from seal.planning.earlier import Earlier
from seal.planning.gpu import H100 as GPU
from seal.planning.gpu import START, passes_of, rates_on
from seal.planning.measured_gpu import MeasuredGpu, measured_gpus, of_paper_shape
from seal.planning.network import network_of_tier
from seal.planning.plan import line_of_stage, with_known_rate
from seal.planning.show import duration
from seal.planning.stages import needs_of_tier, needs_to_run

JOB_SECONDS = 3.0  # a job's own: its workspace, DVC's links; 1.8 to 3.2 s for one to three stages above
Needs = Mapping[str, Sequence[str]]  # stages, with those right above each


@dataclass(frozen=True)
class Schedule:
    """Of stages on places of one speed."""

    makespan: float  # s, to the end of the last stage
    critical_path: float  # s, the longest way through the graph
    used: float  # share of the places' time


def places_of(text: str) -> list[int]:
    """`1,8,64` as numbers; raises UserError for anything else."""
    places = []
    for word in text.split(","):
        if not word.strip().isdecimal() or int(word) == 0:
            raise UserError(f"found --places {text}, expected numbers of GPUs or cores, as --places 1,8,64")
        places.append(int(word))
    return places


def show_places(
    places: Sequence[int], tier: str | None, params: Params, console: Console, acceptance: Path | None = None
) -> None:
    """Print how long the stages take on so many places: all of a tier's, or those that params.yaml leaves to run.

    `acceptance`: the JSON of a GPU that was measured, in place of those in expected/gpu/.
    """
    needs = needs_to_run() if tier is None else needs_of_tier(tier)
    if not needs:
        console.print("nothing to run: data and pipelines are up to date")
        return

    gpu = ""
    if params.tier == "paper":
        measured = measured_gpu(params, acceptance)
        seconds, gpu = seconds_on_a_gpu([*needs], params, measured), gpu_of_a_place(measured)
    else:
        seconds = seconds_of([*needs], params)

    schedules = {count: schedule(needs, seconds, count) for count in places}
    console.print(table_of_places(schedules, sum(seconds.values())))

    critical_path = next(iter(schedules.values())).critical_path
    for sentence in sentences(needs, seconds, critical_path, gpu):
        console.print(sentence, highlight=False)


def table_of_places(schedules: Mapping[int, Schedule], one_by_one: float) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("places", "time", "times faster", "in use"):
        table.add_column(column, justify="right")

    for count, plan in schedules.items():
        faster = f"{one_by_one / plan.makespan:.1f}"
        table.add_row(str(count), duration(plan.makespan), faster, f"{plan.used:.0%}")
    return table


def sentences(needs: Needs, seconds: Mapping[str, float], critical_path: float, gpu: str) -> Iterator[str]:
    useful = sum(seconds.values()) / critical_path
    yield (
        f"{len(needs)} stages, each a job. The longest way from a dataset to the report is {duration(critical_path)}: "
        f"more than some {useful:.0f} places gain little."
    )
    if gpu:
        yield f"A place is an {gpu}, with {START:.0f} s a stage beside its work."
    else:
        yield "A place does what this machine does now: on one machine it has its own cores, or all are slower."


def gpu_of_a_place(measured: MeasuredGpu | None) -> str:
    """Its name, and how its seconds are known."""
    return f"{GPU.name}: counted, not measured" if measured is None else f"{measured.name}: measured"


def seconds_of(stages: Sequence[str], params: Params) -> dict[str, float]:
    """Of each as a job on this machine, by the plan."""
    earlier, size = Earlier(params), network_of_tier(params).size
    machine = with_known_rate(calibrate(params), params, earlier)
    seconds = {}
    for stage in stages:
        cost = work(stage, params, size)
        seconds[stage] = line_of_stage(stage, cost, machine, earlier).seconds + JOB_SECONDS
    return seconds


def seconds_on_a_gpu(stages: Sequence[str], params: Params, measured: MeasuredGpu | None) -> dict[str, float]:
    network = network_of_tier(params)
    if measured is not None:
        rates = measured.rates(params.training.precision)
    else:
        rates = rates_on(GPU, passes_of(network, params))

    return {stage: START + work(stage, params, network.size).time(rates) for stage in stages}


def measured_gpu(params: Params, acceptance: Path | None = None) -> MeasuredGpu | None:
    """The card of this acceptance, or of the newest committed one; None where there is none of this tier's shape."""
    gpus = measured_gpus(acceptance) if of_paper_shape(params) else []
    return max(gpus, key=attrgetter("date"), default=None)


def schedule(needs: Needs, seconds: Mapping[str, float], places: int) -> Schedule:
    """A stage begins when those it needs have ended and a place is free: of several the one with the longest way.

    At worst 2 - 1/N times the shortest makespan (Graham 1969, Bounds on multiprocessing timing anomalies). `needs` has
    each stage after those that it needs.
    """
    ways = _ways(needs, seconds)
    unended = TopologicalSorter(needs)
    unended.prepare()
    ready: list[tuple[float, str]] = []
    running: list[tuple[float, str]] = []
    now, free = 0.0, places

    while unended.is_active():
        for stage in unended.get_ready():
            heapq.heappush(ready, (-ways[stage], stage))

        while ready and free:
            _, stage = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[stage], stage))
            free -= 1

        now, ended = heapq.heappop(running)
        unended.done(ended)
        free += 1

    work_seconds = sum(seconds[stage] for stage in needs)
    return Schedule(now, max(ways.values(), default=0.0), work_seconds / (now * places) if now else 0.0)


def _ways(needs: Needs, seconds: Mapping[str, float]) -> dict[str, float]:
    """Of each stage the longest way through the graph, from its begin to the pipeline's end, in seconds."""
    ways = {}
    after = dict.fromkeys(needs, 0.0)  # the longest way from a stage's end on
    for stage in reversed([*needs]):
        ways[stage] = seconds[stage] + after[stage]
        for name in needs[stage]:
            after[name] = max(after[name], ways[stage])
    return ways
