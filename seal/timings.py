"""A stage's timings: `timings/<stage>.csv`, a row each time that it ends well. No output of DVC's: no two are alike."""

import csv
import math
import platform
import resource
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seal.errors import UserError
from seal.processor import processor
from seal.record import TIMINGS, header_and_rows, read_table, write_csv

FIRST_TIMING_COLUMNS = (
    "stage", "seconds", "rate", "unit", "peak_mb", "backend", "machine", "cpu", "threads", "versions", "date",
)  # fmt: skip
TIMING_COLUMNS = (*FIRST_TIMING_COLUMNS, "gpu", "capture")  # which older timings lack
NEW_TIMINGS = "delete it: the next run begins a new one"


def read_timings(path: Path) -> list[dict[str, str]]:
    """The rows of a stage's timings. Raises UserError for what is none."""
    rows = read_table(path, FIRST_TIMING_COLUMNS, NEW_TIMINGS)
    for number, row in enumerate(rows, start=1):
        try:
            numbers = float(row["seconds"]), float(row["rate"] or 0)
            datetime.fromisoformat(row["date"])
            if not all(map(math.isfinite, numbers)):
                raise ValueError("a time that is not finite")
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: row {number}: {error}; {NEW_TIMINGS}") from None
    return rows


def append_timing(
    stage: str, seconds: float, *, rate: float | None = None, unit: str = "", backend: str = "", capture: str = ""
) -> None:
    """Add a row to `timings/<stage>.csv`: when, how long, how fast, in how much memory, on what. No DVC output.

    `seconds` is wall time; `rate` is in `unit` per second; peak memory is the process's largest resident set in MB.
    """
    from importlib.metadata import version

    torch = sys.modules.get("torch")  # not imported for this
    row = {
        "stage": stage,
        "seconds": f"{seconds:.2f}",
        "rate": "" if rate is None else f"{rate:.1f}",
        "unit": unit,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "backend": backend,
        "machine": platform.machine(),
        "cpu": processor(),
        "threads": torch.get_num_threads() if torch else 1,
        "versions": f"python {platform.python_version()}, torch {version('torch')}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "gpu": torch.cuda.get_device_name() if torch and torch.cuda.is_initialized() else "",
        "capture": capture,
    }

    append_timings(TIMINGS / f"{stage}.csv", [row])


def append_timings(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a stage's timings, whose header is first given the columns of today that it lacks.

    Raises UserError for a file that is no table.
    """
    path.parent.mkdir(exist_ok=True)
    columns = _widened(path)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def _widened(path: Path) -> list[str]:
    """The columns of timings that have been given all of today's; a later version's are left in their place."""
    if not path.exists():
        return [*TIMING_COLUMNS]

    header, rows = header_and_rows(path, NEW_TIMINGS)
    lacking = [column for column in TIMING_COLUMNS if column not in header]
    columns = [*header, *lacking]
    if header and lacking:
        for row in rows:
            # Jobs have once put rows of all columns below a header of the first ones.
            row |= zip(lacking, row.pop(None, []), strict=False)
        write_csv(path, columns, rows)
    return columns
