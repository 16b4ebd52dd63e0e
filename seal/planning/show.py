"""`seal plan`: what the plan says, as a table and sentences, and whether this machine can do it."""

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

from rich.console import Console
from rich.table import Table

from seal.config import Params
from seal.planning.costs import work
from seal.planning.earlier import Earlier
from seal.planning.gpu import gpu_estimate
from seal.planning.machine import Machine
from seal.planning.plan import Line, plan
from seal.planning.stages import in_pipeline_order

REACH_DAYS = 14  # a run that would take longer on this machine is called out of reach
UNITS = {"days": 86400.0, "h": 3600.0, "min": 60.0}  # s


def show(stages: Sequence[str], params: Params, machine: Machine, console: Console, free_bytes: float) -> None:
    """Print the plan: a table of stages, how far to trust it, and what stands in the way."""
    if not stages:
        console.print("nothing to run: data and pipelines are up to date")
        return

    earlier = Earlier(params)
    costs = {stage: work(stage, params, machine.network) for stage in in_pipeline_order(stages)}
    lines = plan(costs, machine, earlier)
    total = reduce(add, lines)

    console.print(table_of(lines, total))
    for sentence in trust(params.tier, machine, earlier):
        console.print(sentence, highlight=False)
    if params.tier == "paper":
        console.print(gpu_estimate(costs.values()), highlight=False)
    for obstacle in obstacles(total, free_bytes):
        console.print(f"OUT OF REACH here: {obstacle}", highlight=False)


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


def trust(tier: str, machine: Machine, earlier: Earlier) -> Iterator[str]:
    """Where the rates come from, and what would make the plan wrong."""
    if earlier.rate is not None:
        rate = f"{earlier.rate:,.0f} images/s in earlier runs"
    else:
        rate = f"{machine.images_per_second:,.0f} images/s in a short calibration"

    yield (
        f"tier {tier}, one stage at a time. Training here: {rate}. "
        "It may be off by two times, and more where other work on the machine comes or goes."
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
