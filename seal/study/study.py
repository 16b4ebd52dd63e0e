"""A tier's whole study, seed by seed: trained and evaluated by DVC, its small files kept in expected/<tier>/.

The command `seal study`. A run that is kept there for these parameters is not made again, unless a folder of the user's
own images has changed since; where other code has made it, a line says so. The lists of few-shot episodes, which are
the same for every run, are kept once, in expected/<tier>/episodes/.
"""

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from seal.config import Params, load_params
from seal.data.listing import FOLDERS
from seal.errors import UserError
from seal.evidence import as_written, read_checked_json, read_summary
from seal.files import new_folder, put_in_place
from seal.record import EXPECTED, RESULTS, TIMINGS, write_json
from seal.sections import BASE_ARM
from seal.stage_names import STAGES, by_folder, read_stages
from seal.study.dvc_repo import Identity, commands_path, locked_identity, locked_outs, stages_by_run, working_identity
from seal.study.numbers import difference, facts_of

SUMMARY = "summary.json"
KEPT = ("history.csv", SUMMARY, "metrics.json", "predictions", "eval")  # no weights, no handover


def study(only: int | None = None, record: Path | None = None) -> None:
    """Make every run of params.yaml that is not kept for these parameters; with `only` the runs of that seed. They are
    kept in expected/<tier>/, with verdicts and report, or in `record`, where they may be of a sweep."""
    params = load_params()
    seeds = _seeds(params)
    if only is not None and only not in seeds:
        raise UserError(f"found --seed {only}, expected one of params.yaml's: {', '.join(map(str, seeds))}")

    of_the_tier = EXPECTED / params.tier
    target = record or of_the_tier
    refuse_another_base(target, params)
    own_packs, stages = packed_anew(), stages_by_run()
    for seed in seeds if only is None else [only]:
        runs = {}
        for name in params.run_names():
            if name in stages and params.find_run(name).seed == seed:
                runs[name] = stages[name]
        make(runs, target, own_packs)

    if target.resolve() != of_the_tier.resolve():
        print(f"{target}: kept; `seal report --record {target}` judges its runs")
        return

    claims = target / "claims.json"
    call("eval.claims", "--record", str(target), "--out", str(claims))
    call("eval.report", "--record", str(target), "--claims", str(claims), "--out", str(target / "report"))


def refuse_another_base(target: Path, params: Params) -> None:
    """Raises UserError where runs are kept whose generation 1 was trained on other images, by another network or by
    other numbers: they would be replaced one after another, and no verdict is of two trainings."""
    wanted = facts_of(params, BASE_ARM, 0)
    for path in sorted(target.glob(f"{BASE_ARM}-*/{SUMMARY}")):
        if other := difference(read_summary(path), wanted):
            problem = f"found a run kept that has {other.key} = {other.recorded}, expected {other.wanted}"
            remedy = "keep this study elsewhere with --record DIR, or move those runs away"
            raise UserError(f"{path.parent}: {problem}; {remedy}")


def _seeds(params: Params) -> list[int]:
    return list(dict.fromkeys([*params.seeds, *params.extra_seeds, *params.sensitivity_seeds]))


def packed_anew() -> dict[str, str]:
    """The packs of the user's own images that are on this machine, up to date: their hashes, by path."""
    call("seal.data.listing")
    folders = read_checked_json(FOLDERS)
    if not isinstance(folders, Mapping):
        raise UserError(f"{FOLDERS}: found no datasets by their names; `git restore {FOLDERS}` brings them back")
    stages = [f"pack@{name}" for name in folders]
    if not stages:
        return {}

    call("dvc", "repro", *stages)
    return locked_outs(stages)


def make(stages: dict[str, list[Any]], target: Path, own_packs: Mapping[str, str]) -> None:
    """Make and keep the runs that are not kept for these parameters, each by its stages, all by one `dvc repro`."""
    wanted, addresses = [], []
    for name in stages:
        kept, identity = kept_stages(target / name, own_packs), working_identity(stages[name])
        if kept == identity:
            print(f"{name}: skipped, {target / name} has these parameters and this code", flush=True)
        elif has_these_parameters(kept, identity):
            words = f"{target / name} has these parameters, by other code; move it away, and it is made by this"
            print(f"{name}: skipped, {words}", flush=True)
        else:
            wanted.append(name)
            addresses += [stage.addressing for stage in stages[name]]
    if not wanted:
        return

    call("dvc", "repro", *addresses)
    for name in wanted:
        keep(name, target, locked_identity(stages[name]))
        print(f"{name}: kept in {target / name}", flush=True)


def kept_stages(folder: Path, own_packs: Mapping[str, str]) -> Identity:
    """With which parameters and code a committed run was made, stage by stage; nothing where none is kept, or where it
    has read others than these packs. Raises BrokenEvidence where what it says of itself is damaged."""
    kept: Identity = {}
    with as_written(folder / STAGES):
        for name, stage in read_stages(folder).items():
            if any(own_packs.get(pack, digest) != digest for pack, digest in stage["data"].items()):
                return {}
            kept[name] = {"params": stage["params"], "code": stage["code"]}
    return kept


def has_these_parameters(kept: Identity, identity: Identity) -> bool:
    """Whether a kept run has all of these stages, each with these parameters as far as it has their keys: it may be
    older than a key."""
    return all(name in kept and agrees(kept[name]["params"], identity[name]["params"]) for name in identity)


def agrees(kept: Any, wanted: Any) -> bool:
    """Whether two values are the same, of mappings in all keys that both have."""
    if not (isinstance(kept, Mapping) and isinstance(wanted, Mapping)):
        return bool(kept == wanted)
    return all(agrees(kept[key], wanted[key]) for key in wanted if key in kept)


def keep(run: str, target: Path, identity: Identity) -> None:
    """Copy a run's small files and its stages' timings; the folder takes its name only once it is whole."""
    with new_folder(target / run) as folder:
        staged = folder / run
        staged.mkdir()
        for name in KEPT:
            _copy(RESULTS / run / name, staged / name)
        leave_others_out(staged, by_folder(identity))
        share_episodes(staged, target / "episodes")
        write_json(staged / STAGES, identity)

        _keep_timings(identity, read_stages(target / run), target / "timings")
        put_in_place(staged, target / run)


def leave_others_out(run: Path, made: Collection[str]) -> None:
    """Of the evaluations keep those that were made for it: results/ may hold those of an earlier tier's run too."""
    for folder in run.glob("eval/*"):
        if folder.name not in made:
            shutil.rmtree(folder)


def share_episodes(run: Path, shared: Path) -> None:
    """Keep a run's lists of episodes beside the runs, once for each few-shot stage; one that is not the same as what
    is kept there stays with its run."""
    for path in sorted(run.glob("eval/*/episodes.npz")):
        kept = shared / f"{path.parent.name}.npz"
        if not kept.exists():
            shared.mkdir(parents=True, exist_ok=True)
            path.rename(kept)
        elif filecmp.cmp(path, kept, shallow=False):
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)
    elif source.name != "eval":
        raise UserError(f"{source}: not found, expected the record of run {source.parent.name}; `dvc repro` makes it")


def _keep_timings(made: Mapping[str, Any], before: Mapping[str, Any], target: Path) -> None:
    """Of the stages that have made a run, where it is replaced by what stages before have made. A stage that was made
    elsewhere, as DVC's cache may give it back, has no timing here: then one that was kept stays with its stage alone.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in {**before, **made}:
        path = TIMINGS / f"{name}.csv"
        if name in made and path.exists():
            shutil.copyfile(path, target / path.name)
        elif made.get(name) != before.get(name):
            (target / path.name).unlink(missing_ok=True)


def call(*arguments: str) -> None:
    """Run a module with this Python, which is also the `python` of DVC's stages."""
    done = subprocess.run([sys.executable, "-m", *arguments], env=os.environ | {"PATH": commands_path()}, check=False)
    if done.returncode:
        raise UserError(f"{' '.join(arguments[:2])} ended with status {done.returncode}; `seal study` again goes on")
