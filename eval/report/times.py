"""The page of times: what each stage took, on which machine.

No stage's output holds a time, and no verdict rests on one: eval/report/ending.py writes the page after the report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.report.document import Section, Table
from eval.report.writing import write_sections
from seal.timings import read_timings

PAGE = "times.html"


def write_times(out: Path, folders: Sequence[Path]) -> Path | None:
    """A fold for each folder of timings; None where there are none, as where DVC restored all from its cache."""
    sections = []
    for folder in folders:
        if any(folder.glob("*.csv")):
            sections.append(_section(folder))
    if not sections:
        return None

    lead = ["The last time that each stage was run. Of what DVC restored from its cache there is none."]
    write_sections(out / PAGE, "SEAL, reproduced: times", lead, sections)
    return out / PAGE


def _section(folder: Path) -> Section:
    timed = filter(None, map(read_timings, sorted(folder.glob("*.csv"))))
    last = [rows[-1] for rows in timed]
    hours = sum(float(row["seconds"]) for row in last) / 3600
    versions = sorted({row["versions"] for row in last})
    text = [f"{len(last)} stages, {hours:.2f} h one after the other; {', '.join(versions)}."]

    columns = ["stage", "seconds", "rate", "peak MB", "backend", "machine"]
    table = Table("Time and memory of each stage", columns, [*map(_cells, last)])
    return Section(folder.as_posix(), "-".join(folder.parts), text=text, parts=[table], open=True)


def _cells(row: Mapping[str, str]) -> list[str]:
    rate = f"{float(row['rate']):,.0f} {row['unit']}/s" if row["rate"] else ""
    machine = f"{row['cpu']}, {row['threads']} threads"
    return [row["stage"], f"{float(row['seconds']):.0f}", rate, row["peak_mb"], row["backend"], machine]
