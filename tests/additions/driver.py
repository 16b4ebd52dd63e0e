"""The whole pipeline, small and in one process, for an addition in a copy of the project.

`python -m tests.additions.driver ASKED`, in the copy. ASKED is JSON: `sections` of params.yaml, the `runs` to train,
the `evaluations` of each, the `tests` to run before, and a `judged` number of the last run, [file, key, ...]. It prints
what `seal compare` says; what else the test asks for is in told.json.
"""

import importlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from eval.claims import __main__ as claims
from eval.report import __main__ as report
from seal import train
from seal.config import load_params
from seal.data import fetch, packing
from seal.measure import NetworkSize, Rates
from seal.planning.costs import work
from seal.planning.earlier import Earlier
from seal.planning.machine import Machine
from seal.planning.plan import plan
from seal.planning.stages import in_pipeline_order, stages_to_run
from seal.record import RESULTS, TIMINGS, read_json, write_json
from seal.runs import RunFolder
from seal.study.compare import compare
from seal.study.spread import judged_values
from seal.tiers import write_tier
from seal.tracking.sync import sync
from tests.small_project import write_params

EXPECTED, OWN = Path("scratch/expected"), Path("scratch/own")


def main() -> None:
    asked = json.loads(sys.argv[1])
    write_tier("smoke", None, Path("params"), Path("params.yaml"))
    status = run_tests(asked["tests"]) if asked["tests"] else 0

    write_params(**asked["sections"])
    fetch.main(["mine"])
    packing.main(["mine"])
    for run in asked["runs"]:
        train.main(["--run", run])
    for name in asked["evaluations"]:
        for run in asked["runs"]:
            importlib.import_module(f"eval.{name}").main(["--run", run])

    claims.main(["--out", "claims/claims.json"])
    report.main([])
    told = {
        "tests": int(status),
        "judged": {run: judged_values(RunFolder.read(RESULTS / run)) for run in asked["runs"]},
        "compared": compared(asked["runs"][-1], asked["judged"]),
        "synced": [outcome.status for outcome in sync(dict.fromkeys(asked["runs"]), RESULTS, TIMINGS)],
        "planned": planned(),
    }
    write_json(Path("told.json"), told)


def run_tests(chosen: Sequence[str]) -> int:
    """In this process, which has imported torch already, and what pytest would have rewritten."""
    alone = ("--basetemp=tested", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
    return pytest.main([*chosen, *alone])


def compared(run: str, judged: Sequence[str]) -> list[bool]:
    """Whether all runs agree with a copy of themselves; and one of them with a number moved a little, and far."""
    shutil.copytree(RESULTS, EXPECTED)
    agreements = [compare(EXPECTED, RESULTS)]
    for step in (1e-9, -0.4):
        shutil.rmtree(OWN, ignore_errors=True)
        shutil.copytree(RESULTS, OWN)
        move(OWN / run, judged, step)
        agreements.append(compare(EXPECTED, OWN))
    return agreements


def move(folder: Path, judged: Sequence[str], step: float) -> None:
    file, *keys, last = judged
    record = read_json(folder / file)
    values = record
    for key in keys:
        values = values[key]

    values[last] += step
    write_json(folder / file, record)


def planned() -> dict[str, dict[str, object]]:
    """What `seal plan` says of each kind of stage, before anything has been run, at an invented machine's rates."""
    params = load_params()
    machine = Machine(Rates(*[100.0] * len(fields(Rates))), start_seconds=0.0)
    costs = {stage: work(stage, params, NetworkSize(1000, 500)) for stage in in_pipeline_order(stages_to_run())}

    nothing = Path("scratch/nothing")
    lines = plan(costs, machine, Earlier(params, nothing, nothing))
    prices = {stage: cost.time(machine.rates) for stage, cost in costs.items()}
    return {"prices": prices, "lines": {line.name: asdict(line) for line in lines}}


if __name__ == "__main__":
    main()
