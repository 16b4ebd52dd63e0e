"""The report's sections on where its numbers come from: the images, and the machine's time."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from eval.report.document import Section, Table
from seal.record import read_timings
from seal.runs import RunFolder, Runs


def provenance(runs: Runs) -> Section:
    """A row for each pack that a network was trained on."""
    rows = {run.summary["data"]: _pack(run) for run in runs}
    columns = ["pack", "archives", "licence", "sha256"]
    table = Table("Images that the networks were trained on", columns, [*rows.values()])
    return Section("Data", parts=[table])


def _pack(run: RunFolder) -> list[str]:
    origin = run.summary["provenance"]
    archives = []
    for archive in origin.get("archives", []):
        archives.append(archive["name"] if archive["official"] else f"{archive['name']} (not the official checksum)")

    licence = str(origin.get("licence", "not recorded"))
    return [run.summary["data"], ", ".join(archives), licence, run.summary["data_sha256"][:16]]


def compute(timings: Path) -> Section:
    """The last row of each stage's timings; none of it is part of the record."""
    lasts = (read_timings(path)[-1:] for path in sorted(timings.glob("*.csv")))
    rows = [*map(_stage, chain.from_iterable(lasts))]
    if not rows:
        return Section("Compute", text=["Not recorded."])

    columns = ["stage", "seconds", "rate", "peak MB", "backend", "machine"]
    return Section("Compute", parts=[Table("Time and memory of each stage", columns, rows)])


def _stage(last: Mapping[str, str]) -> list[str]:
    seconds = f"{float(last['seconds']):.0f}"
    rate = f"{float(last['rate']):,.0f} {last['unit']}/s" if last["rate"] else ""
    machine = f"{last['cpu']}, {last['threads']} threads"
    return [last["stage"], seconds, rate, last["peak_mb"], last["backend"], machine]
