"""How a campaign goes through its cases: numbers of each kind, until time is over, on from where it was stopped."""

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CODE = ("seal", "eval", "tests/campaign")
Case = dict[str, Any]


@dataclass(frozen=True)
class Campaign:
    kind: str  # what a case is of, e.g. a family
    names: Sequence[str]
    prepared: Callable[[Path], Path]  # makes the project that cases begin with, in an empty folder
    judged: Callable[[str, int, int, Path], str]  # of a name, a number, the seed and that project: what is wrong, or ""
    kept: Path  # a line for each case that was tried


def arguments_of(program: str, option: str, count: int, campaign: Campaign) -> argparse.Namespace:
    """`count`: how many cases of each kind are tried where the option does not say."""
    kind = campaign.kind
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument(f"--{option}", dest="count", type=int, default=count, help=f"of each {kind}")
    parser.add_argument("--only", choices=campaign.names, help=f"this {kind} alone, until a case of it fails")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=Path, help=f"a csv file for the counts by {kind}")
    return parser.parse_args()


def go_through(campaign: Campaign, chosen: argparse.Namespace) -> list[Case]:
    """Try the cases that lack, while there is time; gives all of this seed and this code, as they were kept."""
    begun = {"seed": chosen.seed, "code": code()}
    names = [chosen.only] if chosen.only else list(campaign.names)
    random.Random(chosen.seed).shuffle(names)  # so that a draw that ends early has another begin by each seed
    wanted = [{campaign.kind: name, "number": number} | begun for number in range(chosen.count) for name in names]

    campaign.kept.parent.mkdir(exist_ok=True)
    lines = campaign.kept.read_text().splitlines() if campaign.kept.exists() else []
    done = {json.dumps({key: case[key] for key in wanted[0]}): case for case in map(json.loads, lines)}
    lacking = [case for case in wanted if json.dumps(case) not in done]
    if lacking:
        with tempfile.TemporaryDirectory() as folder, campaign.kept.open("a", buffering=1) as file:
            _try(campaign, lacking, campaign.prepared(Path(folder)), file, chosen, done)
    return [done[key] for key in map(json.dumps, wanted) if key in done]


def _try(
    campaign: Campaign,
    cases: Sequence[Case],
    project: Path,
    file: Any,
    chosen: argparse.Namespace,
    done: dict[str, Case],
) -> None:
    deadline = time.monotonic() + chosen.seconds
    for case in cases:
        if time.monotonic() > deadline:
            return
        name, number = case[campaign.kind], case["number"]
        problem = campaign.judged(name, number, chosen.seed, project)
        done[json.dumps(case)] = case | {"problem": problem}
        file.write(json.dumps(case | {"problem": problem}) + "\n")
        if problem:
            print(f"FAILED {name} {number} (seed {chosen.seed}): {problem}", flush=True)
        if problem and chosen.only:
            return


def code() -> str:
    """A hash of what is tried and of what tries it: of other code nothing is known yet."""
    digest = hashlib.sha256()
    for name in CODE:
        for path in sorted((ROOT / name).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
