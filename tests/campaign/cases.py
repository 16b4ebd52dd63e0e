"""How a campaign goes through its cases: numbers of each kind, until time is over, on from where it was stopped."""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

# Of a kind, a number, the seed and a project to copy: what is wrong, or nothing.
Judge = Callable[[str, int, int, Path], str]
Case = dict[str, Any]


def arguments_of(program: str, option: str, count: int, kind: str) -> argparse.Namespace:
    """`count`: how many cases of each kind are tried where the option does not say."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument(f"--{option}", type=int, default=count, help=f"of each {kind}")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=Path, help=f"a csv file for the counts by {kind}")
    return parser.parse_args()


def go_through(
    kinds: Iterable[str], kind: str, count: int, judged: Judge, kept: Path, *,
    prepared: Callable[[Path], Path], seconds: float, seed: int,
) -> list[Case]:
    """Try the cases that lack, while there is time; gives all of the seed's, as `kept` has them, a line each."""
    names = list(kinds)
    kept.parent.mkdir(exist_ok=True)
    done = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    known = {(case[kind], case["number"]) for case in done if case["seed"] == seed}
    deadline, file = time.monotonic() + seconds, kept.resolve()

    with tempfile.TemporaryDirectory() as folder:
        project = prepared(Path(folder))
        for number in range(count):
            for name in names:
                if (name, number) in known or time.monotonic() > deadline:
                    continue
                problem = judged(name, number, seed, project)
                case = {"seed": seed, kind: name, "number": number, "problem": problem}
                done.append(case)
                with file.open("a") as lines:
                    lines.write(json.dumps(case) + "\n")
                if problem:
                    print(f"FAILED {name} {number}: {problem}", flush=True)

    return [case for case in done if case["seed"] == seed]
