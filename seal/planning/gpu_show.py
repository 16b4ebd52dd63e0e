"""What `seal plan` prints of GPUs: the passes as counted, bills of stages, and every assumption beside its number."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seal.config import Params
from seal.measure import Work
from seal.planning import gpu
from seal.planning.gpu import GPUS, CountedPass
from seal.planning.gpu_bills import TABLE_2_ARMS, Bill, Prices
from seal.planning.measured_gpu import measured_gpus, of_paper_shape
from seal.planning.network import Network


def show_gpus(
    costs: Mapping[str, Work], params: Params, network: Network, console: Console, acceptance: Path | None = None
) -> None:
    """Print what the stages of a plan would take on each GPU; `acceptance` is the JSON of one that was measured."""
    measured = measured_gpus(acceptance) if of_paper_shape(params) else []
    prices = Prices(costs, params, network, measured=measured)
    slower = [replace(device, launch_seconds=gpu.LAUNCH + 1e-6) for device in GPUS]
    hours = Prices(costs, params, network).bill("all", [*costs]).hours
    hours_if_slower = Prices(costs, params, network, slower).bill("all", [*costs]).hours

    console.print(
        "\nOn one GPU: counted, not measured. A pass takes as long as the scarcest of three.", highlight=False
    )
    console.print(table_of_passes(prices.passes.values()))
    for bills in (prices.by_kind(), *map(prices.of_a_seed, params.seeds[:1]), prices.of_table_2()):
        console.print()
        console.print(table_of_bills(bills, [*prices.rates]))

    console.print("\nAssumed:", highlight=False)
    for gpu_measured in measured:
        console.print(f"  {gpu_measured.name}, measured: by `seal accept` on {gpu_measured.date[:10]}", highlight=False)
    more_hours = [after - before for before, after in zip(hours, hours_if_slower, strict=True)]
    for line in assumptions(more_hours, prices.passes.values()):
        console.print(f"  {line}", highlight=False)


def table_of_passes(passes: Iterable[CountedPass]) -> Table:
    table = _table("pass", "images", "operations", "GB", "GFLOP")
    for device in GPUS:
        table.add_column(f"{device.name}, ms", justify="right")
        table.add_column("by")

    for counted in passes:
        step = counted.step
        row = [f"{counted.images:,}", f"{step.launches:,.0f}", f"{step.bytes / 1e9:.1f}", f"{step.flop / 1e9:,.1f}"]
        for device in GPUS:
            seconds, binding = device.seconds(step, getattr(device, counted.arithmetic))
            row += [f"{seconds * 1e3:.2f}", binding]
        table.add_row(counted.words, *row)
    return table


def table_of_bills(bills: Iterable[Bill], gpus: Iterable[str]) -> Table:
    hours_by_gpu = [f"{name}, h" for name in gpus]
    table = _table("stages", "count", *hours_by_gpu, "GPU memory, GB", "disk, GB")

    for bill in bills:
        hours = map(_hours, bill.hours)
        memory = f"{bill.memory / 1e9:.0f}" if bill.memory else ""
        table.add_row(bill.words, str(bill.count), *hours, memory, f"{bill.disk / 1e9:,.1f}")
    return table


def _hours(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def assumptions(hours_a_microsecond: Iterable[float], passes: Iterable[CountedPass]) -> Iterator[str]:
    """What was not counted. The hours are those by which all stages grow where an operation takes 1 us more."""
    more = " and ".join(f"{hours:.0f}" for hours in hours_a_microsecond)
    yield (
        f"{gpu.LAUNCH * 1e6:.0f} us an operation: a step that is captured, or Python on a fast host; each us more is "
        f"{more} hours more"
    )

    words_by = defaultdict(list)
    for counted in passes:
        words_by[counted.arithmetic].append(counted.words)

    for device in GPUS:
        peaks = []
        for arithmetic, words in words_by.items():
            peak, precision = getattr(device, arithmetic) / 1e12, arithmetic.removesuffix("_flops")
            peaks.append(f"{peak:.4g} TFLOP/s in {precision} ({', '.join(words)})")
        yield (
            f"{device.name}: {gpu.BANDWIDTH_SHARE:.0%} of {device.bytes_per_second / 1e12:.2f} TB/s; "
            f"{gpu.ARITHMETIC_SHARE:.0%} of {' and of '.join(peaks)}; by its data sheet"
        )

    yield f"{gpu.SEARCH:.0f} times the bare products for a search of neighbours: selection, proof"
    yield f"{gpu.SAVED_PER_SECOND / 1e9:.0f} GB/s for resume states, {gpu.START:.0f} s for a stage's start"
    yield f"{gpu.RESERVED_BYTES / 1e9:.0f} GB of memory for CUDA and cuDNN, beside what parameters ask for"
    yield "one stage at a time, none diverges, and no more Hessian products than seal/evaluations.py counts"
    yield f"Table 2 by generation 1 and {', '.join(TABLE_2_ARMS)}, without evaluations"
