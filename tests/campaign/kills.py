"""The kill campaign: `python -m tests.campaign.kills [--kills N] [--only KIND] [--seconds S] [--seed K]`.

Every stage and command meets, in copies of a small project: SIGKILL, SIGTERM or SIGINT at a random moment, a full disk,
a permission that was taken away, and itself. It may then end badly in one line; what has a name is whole; and run
again, it leaves all files of one that nothing has met, bit for bit, without litter and with no process left. What was
done is kept in scratch/kills.jsonl, so that a campaign that was stopped goes on; --counts writes the counts.
"""

import os
import random
import signal
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from seal.errors import LONGEST as LONGEST_LINE
from seal.timings import read_timings
from tests.campaign.cases import Campaign, arguments_of, go_through
from tests.campaign.commands import COMMANDS, LONGEST, Good, files, good_end, make_whole_project
from tests.campaign.meetings import MEETINGS, Case, LeftOut
from tests.campaign.processes import Ended

LEFT_OUT = "left out: "
ENDS = ("passed", "failed", "left out")
OF_NOW = {"folders.json"}  # tells what may be read of a user's folder just then; fetch is refused the rest


@cache
def good(name: str, project: Path) -> Good:
    with tempfile.TemporaryDirectory() as place:
        return good_end(name, project, Path(place))


def met(kind: str, number: int, seed: int, project: Path) -> str:
    """What is wrong with a command after a meeting, and after it was run again; empty where nothing is."""
    name, _, meeting = kind.partition(" meets ")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        rng = random.Random(f"{seed}/{kind}/{number}")
        case = Case(name, project, good(name, project), Path(place), rng, number)
        try:
            with MEETINGS[meeting](case) as ends:
                problems = [_of_its_end(number, ended) for number, ended in ends]
                problems += [_of_files(case), _of_another_run(case)]
        except LeftOut as reason:
            return f"{LEFT_OUT}{reason}"
        except (AssertionError, TimeoutError, OSError) as error:
            return str(error)
    return next(filter(None, problems), "")


def _of_its_end(number: int | None, ended: Ended) -> str:
    """A signal ends a process as it should, Ctrl-C in words; what else ends badly says in a line why."""
    words, expected = ended.words.strip(), {0, -(number or 0)}
    if "Traceback" in words:
        return f"a traceback: {words[-300:]!r}"
    if number is not None:
        expected |= {130} if number == signal.SIGINT else set()
        return "" if ended.status in expected else f"met by {number} it ended with {ended.status}: {words[-200:]!r}"
    if ended.status < 0:
        return f"it ended with {ended.status}"
    last = words.splitlines()[-1] if words else ""
    if f".{os.uname().nodename}-" in last:
        return f"an unfinished name is told: {last!r}"
    if ended.status and not 10 < len(last) < LONGEST_LINE + 100:
        return f"it ended with {ended.status} and no line: {words[-200:]!r}"
    return ""


def _of_files(case: Case) -> str:
    """What has a name, other than an unfinished one, is as before or as it is to be."""
    before, wanted = _before(case.project), case.good.files
    for name, digest in files(case.copy).items():
        unfinished = any(part.startswith(".") for part in Path(name).parts)
        if case.plain and name in OF_NOW:
            continue
        if not unfinished and digest not in (before.get(name), wanted.get(name)):
            return f"{name} is neither as before nor as it is to be"
    return ""


@cache
def _before(project: Path) -> dict[str, str]:
    return files(project)


def _of_another_run(case: Case) -> str:
    process = case.begins()
    again = process.end(LONGEST)
    if again.status:
        return f"run again it ended with {again.status}: {again.words[-300:]!r}"
    if process.lives_on:
        return "run again, a process lives on"

    now, wanted = files(case.copy), case.good.files
    if now != wanted:
        others = sorted(now.keys() ^ wanted.keys()) or [name for name in now if now[name] != wanted[name]]
        return f"run again it left {others[:3]} otherwise"
    if litter := [str(path) for path in case.copy.rglob(f".*.{os.uname().nodename}-*")]:
        return f"litter: {litter[0]}"
    for path in (case.copy / "timings").glob("*.csv"):
        read_timings(path)
    return ""


KINDS = [f"{name} meets {meeting}" for name in COMMANDS for meeting in MEETINGS]
CAMPAIGN = Campaign("kind", KINDS, make_whole_project, met, Path("scratch/kills.jsonl"))


def main() -> None:
    chosen = arguments_of("python -m tests.campaign.kills", "kills", 5, CAMPAIGN)
    cases = go_through(CAMPAIGN, chosen)

    counts: Counter[tuple[str, str]] = Counter()
    for case in cases:
        end = "passed" if not case["problem"] else "left out" if case["problem"].startswith(LEFT_OUT) else "failed"
        counts[case["kind"], end] += 1
    rows = []
    for kind in KINDS:
        name, meeting = kind.split(" meets ")
        rows.append(",".join([name, meeting, *(str(counts[kind, end]) for end in ENDS)]))
    text = "\n".join([f"command,met,{','.join(ENDS)}", *rows]) + "\n"
    print(text)
    if chosen.counts:
        chosen.counts.write_text(text)
    raise SystemExit(1 if any(end == "failed" for _, end in counts) else 0)


if __name__ == "__main__":
    main()
