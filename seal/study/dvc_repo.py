"""DVC's repository as this project reads it: which stage makes what, of which parameters and code; errors as one line.

seal/study/study.py and the plan ask. DVC is imported where it is needed, as that takes a second.
"""

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from seal.errors import UserError, first_line
from seal.record import RESULTS

DATA = ("data", "results")  # dependencies below these are recorded; of them only packs of own images decide

# Of each stage, by its name: the values of its `params`, the hashes of its `code`, in dvc.lock also of its `data`.
Identity = dict[str, dict[str, Any]]


def commands_path() -> str:
    """A PATH on which `python`, as the stages call it, is this one."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"


def stages_by_run() -> dict[str, list[Any]]:
    """DVC's stages by the run into whose folder of results/ they write."""
    from dvc.repo import Repo

    with dvc_errors():
        stages = Repo(".").index.stages

    by_run: dict[str, list[Any]] = {}
    for stage in stages:
        for run in _runs_of(stage):
            by_run.setdefault(run, []).append(stage)
    return by_run


def _runs_of(stage: Any) -> set[str]:
    runs = set()
    for out in stage.outs:
        folder, *inside = Path(out.def_path).parts
        if folder == RESULTS.name:
            runs.add(inside[0])
    return runs


def needs_of(graph: Any, name_of: Callable[[Any], str] = attrgetter("addressing")) -> dict[str, list[str]]:
    """The stages right above each, in the order in which `dvc repro` runs and locks them: a topological sort would put
    the same entries into dvc.lock in another."""
    import networkx

    needs = {}
    for stage in networkx.dfs_postorder_nodes(graph):
        needs[name_of(stage)] = sorted(map(name_of, graph[stage]))
    return needs


def with_all_below(changed: Collection[str], needs: Mapping[str, Sequence[str]]) -> set[str]:
    """Stages that have changed, and whatever stands below them: what `dvc repro` would run.

    `dvc repro --dry` cannot say: it stops at the first stage whose input another has yet to write.
    """
    to_run = set[str]()
    for stage, above in needs.items():
        if stage in changed or not to_run.isdisjoint(above):
            to_run.add(stage)
    return to_run


def working_identity(stages: Sequence[Any]) -> Identity:
    """Parameters and code hashes of each stage as the working tree has them, hashed by DVC itself."""
    from dvc.dependency.param import ParamsDependency

    identity: Identity = {}
    for stage in stages:
        params: dict[str, Any] = {}
        code: dict[str, str] = {}
        for dependency in stage.deps:
            if isinstance(dependency, ParamsDependency):
                params |= dependency.read_params()
            elif not _is_data(dependency.def_path):
                dependency.hash_name = "md5"  # what dvc.lock will say; DVC gives a file that it lacks an older name
                code[dependency.def_path] = dependency.get_hash().value
        identity[stage.addressing] = {"params": params, "code": code}
    return _plain(identity)


def locked_identity(stages: Sequence[Any]) -> Identity:
    """The same from dvc.lock, which says what ran; the hashes of data and results beside it."""
    from dvc.utils.serialize import load_yaml

    locked = load_yaml("dvc.lock")["stages"]
    identity: Identity = {}
    for stage in stages:
        name = stage.addressing
        if name not in locked:
            raise UserError(f"dvc.lock: found no stage {name}, expected it after `dvc repro`; run `dvc repro {name}`")

        code: dict[str, str] = {}
        data: dict[str, str] = {}
        for dependency in locked[name].get("deps", []):
            hashes = data if _is_data(dependency["path"]) else code
            hashes[dependency["path"]] = dependency["md5"]

        params = locked[name].get("params", {}).get("params.yaml", {})
        identity[name] = {"params": params, "code": code, "data": data}
    return _plain(identity)


def locked_outs(stages: Sequence[str]) -> dict[str, str]:
    """The hash of each output of these stages, by its path, as dvc.lock has it."""
    from dvc.utils.serialize import load_yaml

    locked = load_yaml("dvc.lock")["stages"]
    hashes = {}
    for name in stages:
        for out in locked[name]["outs"]:
            hashes[out["path"]] = out["md5"]
    return hashes


def _is_data(path: str) -> bool:
    return Path(path).parts[0] in DATA


def _plain(identity: Identity) -> Identity:
    """As JSON has it, so that what is read from a file and what DVC gives can be equal."""
    return dict(json.loads(json.dumps(identity)))


@contextmanager
def dvc_errors() -> Iterator[None]:
    """Turn an error of DVC's, as of Repo(), into a UserError that says what to do."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise UserError(_words(error)) from error
    except OSError as error:
        home = Path("~").expanduser()
        if home.is_dir() or not Path(str(error.filename)).is_relative_to(home):
            raise

        problem = f"HOME: found {home}, which is no folder, expected the one in which DVC looks for its settings"
        raise UserError(f"{problem}; set HOME to a folder") from error


def _words(error: Exception) -> str:
    from dvc.lock import LockError
    from dvc.scm import SCMError

    if isinstance(error, LockError):  # its own message names a file and a process over several lines
        return "DVC: found it at work here; wait until the running `dvc` or `make repro` has ended, and run again"

    message = first_line(error).rstrip(".")
    advice = "`dvc status` says more"
    if isinstance(error, SCMError):
        advice = "where the project was unpacked without git, `dvc config --local core.no_scm true` tells DVC so"
    return f"DVC: {message}; {advice}"
