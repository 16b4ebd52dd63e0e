"""`seal status`: a row for each stage that was sent or made before: done, at work where and since when, waiting for
what, or failed and why; and sums."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from seal.cluster.pipeline import locked_entries
from seal.cluster.queue import Queued, jobs_by_stage, queued
from seal.cluster.submission import Facts, Submission, submissions
from seal.errors import UserError

AGAIN = "submit again"
OPEN, LOST = ("running", "waiting"), ("failed", "stopped")


@dataclass(frozen=True)
class Row:
    """How a stage stands."""

    stage: str
    state: str  # done, running, waiting, failed or stopped
    node: str = ""
    time: str = ""  # since when it is at work, or how long it took
    words: str = ""


def newest_submission() -> Submission:
    newest = max(submissions(), key=lambda submission: submission.submitted_at, default=None)
    if newest is None:
        raise UserError("found no submission here, expected one; `seal submit` makes it")
    return newest


def rows_of(submission: Submission) -> list[Row]:
    """In the pipeline's order, without stages that were neither sent nor made before."""
    facts = submission.facts
    by_slurm = jobs_by_stage(submission.folder.name) if facts["how"] == "slurm" else {}
    make = facts["how"] == "local" and submission.is_held("make")
    rows: dict[str, Row] = {}
    for stage, needs in facts["needs"].items():
        above = [rows[name] for name in needs if name in rows]
        mark, job = submission.mark(stage), by_slurm.get(stage)

        if mark is not None and mark["state"] == "done":
            rows[stage] = Row(stage, "done", mark["node"], f"{mark['seconds']:.0f} s")
        elif stage in facts["entries"]:
            rows[stage] = Row(stage, "done", words="before")
        elif job is not None and job.state == "PENDING":
            rows[stage] = row_of_pending(stage, above, job)
        elif mark is not None:
            rows[stage] = row_of_begun(submission, stage, mark, at_work=job is not None or submission.is_held(stage))
        elif job is not None or stage in facts["sent"]:
            rows[stage] = row_of_waiting(stage, above, job is not None or make)
    return list(rows.values())


def row_of_begun(submission: Submission, stage: str, mark: Facts, at_work: bool) -> Row:
    log = submission.log(mark.get("label", stage))
    since = time.strftime("%F %T", time.localtime(mark["since"]))
    if mark["state"] == "failed":
        words = mark.get("words", last_line(log))
        return Row(stage, "failed", mark["node"], since, f"{words} ({log.relative_to(Path.cwd())})")
    if at_work:
        return Row(stage, "running", mark["node"], f"since {since}", last_line(log))
    return Row(stage, "stopped", mark["node"], since, f"its job was killed; {AGAIN}")


def row_of_pending(stage: str, above: Sequence[Row], job: Queued) -> Row:
    """Of a job in Slurm's queue, with Slurm's reason."""
    ahead = stages_in(above, OPEN)
    return Row(stage, "waiting", words=f"for {', '.join(ahead)}" if ahead else f"{job.reason}, job {job.job}")


def row_of_waiting(stage: str, above: Sequence[Row], comes: bool) -> Row:
    lost = stages_in(above, LOST)
    if lost:
        return Row(stage, "stopped", words=f"needs {', '.join(lost)}")
    if not comes:
        return Row(stage, "stopped", words=f"never begun; {AGAIN}")

    ahead = stages_in(above, OPEN)
    return Row(stage, "waiting", words=f"for {', '.join(ahead)}" if ahead else "for a place")


def stages_in(rows: Sequence[Row], states: Sequence[str]) -> list[str]:
    return [row.stage for row in rows if row.state in states]


def last_line(log: Path) -> str:
    """The last that a stage said; not DVC's own last words, which say that it failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    for line in reversed(lines):
        if line.strip() and not line.startswith("ERROR: failed to reproduce"):
            return line.strip()
    return ""


def text_of(rows: Sequence[Row]) -> str:
    """A line a stage, in columns."""
    cells = [*map(attrgetter("stage", "state", "node", "time"), rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    lines = []
    for row, values in zip(rows, cells, strict=True):
        columns = map(str.ljust, values, widths)
        lines.append("  ".join([*columns, row.words]).rstrip())
    return "\n".join(lines)


def is_gathering(submission: Submission, rows: Sequence[Row]) -> bool:
    """Whether all stages have ended, and the last job has not yet put them into dvc.lock."""
    if stages_in(rows, OPEN):
        return False
    if submission.facts["how"] == "slurm":
        return any(job.digest == submission.folder.name for job in queued())
    return submission.is_held("make")


def sums_of(submission: Submission, rows: Sequence[Row], gathering: bool) -> str:
    counts = Counter(row.state for row in rows)
    if left_out := submission.facts["needs"].keys() - {row.stage for row in rows}:
        counts["not sent"] = len(left_out)

    sums = ", ".join(f"{count} {state}" for state, count in counts.items())
    if gathering:
        sums += "; being gathered into dvc.lock and results/"
    elif not stages_in(rows, OPEN) and (lacking := not_in_lock(submission)):
        sums += f"; {len(lacking)} not in dvc.lock: with the code and parameters of then `seal gather` takes them over"
        words = last_line(submission.log("gather"))
        sums += f"; it ended in {words}" if words.startswith("error: ") else ""
    return f"{submission.folder.relative_to(Path.cwd())}: {sums}"


def not_in_lock(submission: Submission) -> list[str]:
    """Stages that are done, and of which dvc.lock has another entry or none."""
    locked = locked_entries()
    return [stage for stage, entry in submission.done(submission.facts["needs"]).items() if locked.get(stage) != entry]
