"""A tier's whole study, seed by seed: trained and evaluated by DVC, its small files kept in expected/<tier>/."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seal.config import load_params
from seal.errors import UserError
from seal.record import RESULTS, TIMINGS, read_json, write_json
from seal.study.dvc_repo import dvc_errors

EXPECTED = Path("expected")
STAGES = "stages.json"
KEPT = ("history.csv", "summary.json", "metrics.json", "predictions", "eval")  # no weights, no handover
STAGING = Path("scratch/study")
DATA = ("data", "results")  # dependencies below these are recorded, but do not decide whether a run is current


def stages_by_run() -> dict[str, list[Any]]:
    """DVC's stages by the run into whose folder of results/ they write."""
    from dvc.repo import Repo

    found: dict[str, list[Any]] = {}
    with dvc_errors():
        stages = Repo(".").index.stages
    for stage in stages:
        runs = {Path(out.def_path).parts[1] for out in stage.outs if Path(out.def_path).parts[0] == RESULTS.name}
        for run in runs:
            found.setdefault(run, []).append(stage)
    return found


def working_identity(stages: Sequence[Any]) -> dict[str, Any]:
    """Parameters and code hashes of each stage as the working tree has them, hashed by DVC itself."""
    from dvc.dependency.param import ParamsDependency

    found: dict[str, Any] = {}
    for stage in stages:
        params: dict[str, Any] = {}
        code: dict[str, str] = {}
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                params |= dep.read_params()
            elif Path(dep.def_path).parts[0] not in DATA:
                dep.hash_name = "md5"  # what dvc.lock will say; DVC gives a file that it lacks an older name
                code[dep.def_path] = dep.get_hash().value
        found[stage.addressing] = {"params": params, "code": code}
    return _plain(found)


def locked_identity(stages: Sequence[Any]) -> dict[str, Any]:
    """The same from dvc.lock, which says what ran; the hashes of data and results beside it."""
    from dvc.utils.serialize import load_yaml

    lock = load_yaml("dvc.lock")["stages"]
    found = {}
    for name in (stage.addressing for stage in stages):
        if name not in lock:
            raise UserError(f"dvc.lock: found no stage {name}, expected it after `dvc repro`; run `dvc repro {name}`")
        hashes = {dep["path"]: dep["md5"] for dep in lock[name].get("deps", [])}
        found[name] = {
            "params": lock[name].get("params", {}).get("params.yaml", {}),
            "code": {path: value for path, value in hashes.items() if Path(path).parts[0] not in DATA},
            "data": {path: value for path, value in hashes.items() if Path(path).parts[0] in DATA},
        }
    return _plain(found)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(value)))


def is_current(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether a committed run was made with these parameters and this code, in all of its stages."""
    path = folder / STAGES
    if not path.exists():
        return False
    recorded = {name: {"params": each["params"], "code": each["code"]} for name, each in read_json(path).items()}
    return bool(recorded == identity)


def keep(run: str, target: Path, identity: dict[str, Any]) -> None:
    """Copy a run's small files and its stages' timings; the folder takes its name only once it is whole."""
    source, staged = RESULTS / run, STAGING / run
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    for name in KEPT:
        if (source / name).is_dir():
            shutil.copytree(source / name, staged / name)
        elif (source / name).exists():
            shutil.copyfile(source / name, staged / name)
        elif name != "eval":
            raise UserError(f"{source / name}: not found, expected the record of run {run}; `dvc repro` makes it")
    write_json(staged / STAGES, identity)
    timings = target / "timings"
    timings.mkdir(parents=True, exist_ok=True)
    for path in (TIMINGS / f"{name}.csv" for name in timing_names(run, list(identity))):
        if path.exists():  # DVC may have restored the stage from its cache
            shutil.copyfile(path, timings / path.name)
    shutil.rmtree(target / run, ignore_errors=True)
    staged.rename(target / run)


def timing_names(run: str, stages: Sequence[str]) -> list[str]:
    """Names under which stages note their times: a training as train@<run> whichever list its arm is in."""
    return list(dict.fromkeys([*stages, f"train@{run}"]))


def call(*arguments: str) -> None:
    """Run a module with this Python, which is also the `python` of DVC's stages."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run([sys.executable, "-m", *arguments], env=os.environ | {"PATH": path}, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(arguments[:2])} ended with status {done.returncode}; `seal study` again goes on")


def study(only: int | None = None) -> None:
    """Make every run of params.yaml that is not kept for this code and these parameters, then verdicts and report."""
    params = load_params()
    seeds = list(dict.fromkeys([*params.seeds, *params.extra_seeds, *params.sensitivity_seeds]))
    if only is not None and only not in seeds:
        raise UserError(f"found --seed {only}, expected one of params.yaml's: {', '.join(map(str, seeds))}")
    target, stages = EXPECTED / params.tier, stages_by_run()
    for seed in seeds if only is None else [only]:
        names = [name for name in params.run_names() if name in stages and params.find_run(name).seed == seed]
        wanted = []
        for name in names:
            if is_current(target / name, working_identity(stages[name])):
                print(f"{name}: skipped, {target / name} has these parameters and this code", flush=True)
            else:
                wanted.append(name)
        if wanted:
            call("dvc", "repro", *(stage.addressing for name in wanted for stage in stages[name]))
        for name in wanted:
            keep(name, target, locked_identity(stages[name]))
            print(f"{name}: kept in {target / name}", flush=True)
    claims = target / "claims.json"
    call("eval.claims", "--record", str(target), "--out", str(claims))
    call("eval.report", "--record", str(target), "--claims", str(claims), "--out", str(target / "report"))
