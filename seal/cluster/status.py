"""`seal status`: a row a stage: done, at work where and since when, waiting for what, or failed and why; and sums."""

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console
from rich.table import Table

from seal.cluster.snapshot import Facts, Submission, submissions
from seal.errors import UserError

AGAIN = "submit again"


@dataclass(frozen=True)
class Row:
    """How a stage stands."""

    stage: str
    state: str  # done, running, waiting, failed or stopped
    place: str = ""  # the node
    time: str = ""  # since when it is at work, or how long it took
    words: str = ""


def show_status(console: Console) -> bool:
    """Print how the newest submission stands; whether anything of it is still to end."""
    newest = max(submissions(), key=lambda submission: submission.submitted_at, default=None)
    if newest is None:
        raise UserError("found no submission here, expected one; `seal submit` makes it")

    rows = rows_of(newest)
    console.print(table_of(rows))
    counts = Counter(row.state for row in rows)
    sums = ", ".join(f"{count} {state}" for state, count in counts.items())
    console.print(f"{newest.folder.relative_to(Path.cwd())}: {sums}", highlight=False)
    return bool(counts["running"] + counts["waiting"])


def rows_of(submission: Submission) -> list[Row]:
    facts = submission.facts
    live = is_held(submission.lock("make"))
    rows: dict[str, Row] = {}
    for stage, needs in facts["needs"].items():
        above = [rows[name] for name in needs if name in rows]
        mark = submission.mark(stage)
        if stage in facts["entries"] and (mark is None or mark["state"] != "done"):
            rows[stage] = Row(stage, "done", words="before")
        elif mark is not None:
            rows[stage] = row_of_begun(submission, stage, mark)
        else:
            rows[stage] = row_of_waiting(stage, above, live and stage in facts["sent"])
    return list(rows.values())


def row_of_begun(submission: Submission, stage: str, mark: Facts) -> Row:
    if mark["state"] == "done":
        return Row(stage, "done", mark["node"], f"{mark['seconds']:.0f} s")

    log = submission.log(stage)
    since = time.strftime("%F %T", time.localtime(mark["since"]))
    if mark["state"] == "running":
        if is_held(submission.lock(stage)):
            return Row(stage, "running", mark["node"], f"since {since}", last_line(log))
        return Row(stage, "stopped", mark["node"], since, f"its job was killed; {AGAIN}")
    return Row(stage, "failed", mark["node"], since, f"{last_line(log)} ({log.relative_to(Path.cwd())})")


def row_of_waiting(stage: str, above: list[Row], live: bool) -> Row:
    lost = [row.stage for row in above if row.state in ("failed", "stopped")]
    ahead = [row.stage for row in above if row.state in ("running", "waiting")]
    if lost:
        return Row(stage, "stopped", words=f"needs {', '.join(lost)}")
    if not live:
        return Row(stage, "stopped", words=f"never begun; {AGAIN}")
    return Row(stage, "waiting", words=f"for {', '.join(ahead)}" if ahead else "for a place")


def is_held(path: Path) -> bool:
    """Whether a process holds this lock."""
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True


def last_line(log: Path) -> str:
    """The last that a stage said; not DVC's own last words, which say that it failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line for line in lines if line.strip() and not line.startswith("ERROR: failed to reproduce")]
    return said[-1].strip() if said else ""


def table_of(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("stage", "state", "node", "time", ""):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(row.stage, row.state, row.place, row.time, row.words)
    return table
