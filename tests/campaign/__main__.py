"""The mutation campaign: `python -m tests.campaign [--cases N] [--only FAMILY] [--seconds S] [--seed K]`.

Bad inputs of every family, each in a copy of a small project and in one process, are judged by one rule: a good end, or
one line that ends the command; nothing of results/, packs or reports changed by what was refused; no litter; in time.
A case is a function of seed, family and number. What was done is kept in scratch/campaign.jsonl, so that a campaign
that was stopped goes on; --counts writes the counts by family.
"""

import contextlib
import io
import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

from seal.errors import LONGEST, one_line_errors
from tests.campaign.cases import Campaign, arguments_of, go_through
from tests.campaign.families import FAMILIES
from tests.campaign.project import make_project

LONGEST_CASE = 30  # s
INTERRUPTED = 130
# A flipped bit of a weight is a weight: without dvc.lock its own stage goes on from it (docs/promises.md).
ITS_OWN = ("weights and records", "handover and scratch")
PROTECTED = ("results", "data/packs", "report", "claims")


def contents(folder: Path) -> dict[str, bytes]:
    files = {}
    for name in PROTECTED:
        for path in sorted((folder / name).rglob("*")):
            if path.is_file():
                files[str(path.relative_to(folder))] = path.read_bytes()
    return files


def judged(family: str, number: int, seed: int, project: Path) -> str:
    """What is wrong with how a case ended; empty where nothing is."""
    rng = random.Random(f"{seed}/{family}/{number}")
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        copy = Path(name) / "project"
        shutil.copytree(project, copy, symlinks=True)
        os.chdir(copy)
        try:
            command = FAMILIES[family](rng)
            before = contents(copy)
            words = _end_of(command)
            return _judge(family, words, before, contents(copy), copy)
        finally:
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(name)


def _end_of(command: object) -> str | None:
    """The line with which a command was refused; None where it ended well. Raises what is a fault."""
    assert callable(command)
    quiet = io.StringIO()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST_CASE)
    with contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
        try:
            with one_line_errors():
                command()
        except SystemExit as end:
            if end.code == INTERRUPTED:
                raise KeyboardInterrupt from None
            return None if end.code in (None, 0) else str(end.code)
        finally:
            signal.alarm(0)
    return None


def _too_long(*arguments: object) -> None:
    raise TimeoutError(f"no end after {LONGEST_CASE} s")


def _judge(family: str, line: str | None, before: dict[str, bytes], after: dict[str, bytes], project: Path) -> str:
    if litter := [str(path) for path in project.rglob(".*.*-*.*") if path.name.count(".") > 2]:
        return f"litter: {litter[0]}"
    if line is None:
        others = family not in ITS_OWN and _results(before) != _results(after)
        return "what was spoiled was believed: a result is another" if others else ""
    if not line.isprintable() or len(line) > LONGEST + 100 or len(line) < 10:
        return f"no line: {line[:200]!r}"
    return "what was refused changed something" if before != after else ""


def _results(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.startswith("results/")}


def judged_with_traceback(family: str, number: int, seed: int, project: Path) -> str:
    """The same, of a case that may end in a traceback: that is what the campaign looks for."""
    try:
        return judged(family, number, seed, project)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200]}"


CAMPAIGN = Campaign("family", list(FAMILIES), make_project, judged_with_traceback, Path("scratch/campaign.jsonl"))


def main() -> None:
    chosen = arguments_of("python -m tests.campaign", "cases", 120, CAMPAIGN)
    cases = go_through(CAMPAIGN, chosen)

    counts = Counter((case["family"], "failed" if case["problem"] else "passed") for case in cases)
    rows = [f"{name.replace(',', '')},{counts[name, 'passed']},{counts[name, 'failed']}" for name in FAMILIES]
    text = "\n".join(["family,passed,failed", *rows]) + "\n"
    print(text)
    if chosen.counts:
        chosen.counts.write_text(text)
    raise SystemExit(1 if any(end == "failed" for _, end in counts) else 0)


if __name__ == "__main__":
    main()
