"""`seal plan`: what the plan says, as a table and sentences, and whether this machine can do it."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seal.config import Params
from seal.planning.costs import work
from seal.planning.earlier import Earlier
from seal.planning.gpu_show import show_gpus
from seal.planning.machine import Machine
from seal.planning.network import network_of_tier
from seal.planning.plan import Line, plan, with_known_rate
from seal.planning.setting import setting_of
from seal.planning.stages import in_pipeline_order

REACH_DAYS = 14  # a run that would take longer on this machine is called out of reach
UNITS = {"days": 86400.0, "h": 3600.0, "min": 60.0}  # s


def show(
    stages: Sequence[str], params: Params, machine: Machine, console: Console, free_bytes: float,
    acceptance: Path | None = None,
) -> None:  # fmt: skip
    """Print the plan: a table of stages, how far to trust it, and what stands in the way.

    `acceptance`: the JSON of a GPU that was measured, in place of those in expected/gpu/.
    """
    if not stages:
        console.print("nothing to run: data and pipelines are up to date")
        return

    earlier = Earlier(params)
    machine = with_known_rate(machine, params, earlier)
    network = network_of_tier(params)
    costs = {stage: work(stage, params, network.size) for stage in in_pipeline_order(stages)}
    lines = plan(costs, machine, earlier)
    total = reduce(add, lines)

    console.print(table_of(lines, total))
    for sentence in trust(params, machine):
        console.print(sentence, highlight=False)
    for obstacle in obstacles(total, free_bytes):
        console.print(f"OUT OF REACH here: {obstacle}", highlight=False)
    if params.tier == "paper":
        show_gpus(costs, params, network, console, acceptance)


def table_of(lines: Sequence[Line], total: Line) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True, footer_style="bold")
    table.add_column("stage", "total")
    table.add_column("count", str(total.count), justify="right")
    table.add_column("time", duration(total.seconds), justify="right")
    table.add_column("disk", volume(total.bytes), justify="right")
    table.add_column("from", "")

    for line in lines:
        table.add_row(line.name, str(line.count), duration(line.seconds), volume(line.bytes), line.basis)
    return table


def trust(params: Params, machine: Machine) -> Iterator[str]:
    """Where the rates come from, and what would make the plan wrong."""
    setting = setting_of(params)
    yield (
        f"tier {params.tier}, one stage at a time, {setting.words}. Training here: {machine.rates.trained:,.0f} "
        f"images/s, by {machine.basis}. It may be off by two times where other work on the machine comes or goes."
    )
    yield (
        "What DVC's run cache still holds is restored in seconds instead. Where the file system cannot link, the cache "
        "takes as much disk again."
    )


def obstacles(total: Line, free_bytes: float) -> Iterator[str]:
    """What makes a plan unreasonable on this machine, a sentence each."""
    if total.seconds > REACH_DAYS * UNITS["days"]:
        yield f"{duration(total.seconds)} is more than {REACH_DAYS} days."

    if total.bytes > free_bytes:
        yield f"needs {volume(total.bytes)} of disk, found {volume(free_bytes)} free."


def duration(seconds: float) -> str:
    for unit, length in UNITS.items():
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"


def volume(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:,.1f} GB" if size_bytes >= 1e9 else f"{max(size_bytes, 1e5) / 1e6:,.1f} MB"
