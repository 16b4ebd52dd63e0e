"""What DVC knows of the pipeline: its graph, what is to be run, dvc.lock.

Of this room, it and settings.py alone use DVC's insides; `submit`, `snapshot`, `gather` and `status` ask. DVC is
imported where it is needed, as that takes a second.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal.cluster.stages import HERE, LAST, kind
from seal.files import atomic
from seal.study.dvc_repo import dvc_errors, needs_of, with_all_below

LOCK = Path("dvc.lock")

Entries = dict[str, dict[str, Any]]  # of dvc.lock, by stage


@dataclass(frozen=True)
class Pipeline:
    """The stages of dvc.yaml as DVC expands them, and how things stand with them."""

    needs: dict[str, list[str]]  # the stages right above each; keys in the order in which `dvc repro` runs and locks
    to_run: frozenset[str]  # what has changed, and whatever stands below it
    files: list[Path]  # dependencies that no stage makes: code and parameters, files and folders
    cache: Path

    @property
    def jobs(self) -> list[str]:
        """Stages that are run as jobs, in the pipeline's order."""
        return [stage for stage in self.needs if kind(stage) not in (*HERE, *LAST)]


def read_pipeline() -> Pipeline:
    """The project's in the working directory; raises UserError where DVC cannot read it."""
    from dvc.repo import Repo, lock_repo

    with dvc_errors(), Repo(_wait_for_lock=True) as repo, lock_repo(repo):  # else `status` builds the index anew, twice
        needs = needs_of(repo.index.graph)
        to_run = frozenset(with_all_below(repo.status(), needs))
        return Pipeline(needs, to_run, _files_read(repo.index), Path(repo.cache.local.path))


def _files_read(index: Any) -> list[Path]:
    """What stages depend on and none makes."""
    outs = [out.fs_path for out in index.outs]
    deps = {dep.fs_path for dep in index.deps if dep.protocol == "local"}
    return sorted(Path(os.path.relpath(path)) for path in deps if not _is_made(path, outs))


def _is_made(dependency: str, outs: Iterable[str]) -> bool:
    """Whether a stage makes it, something in it, or what it is in."""
    return any(os.path.commonpath([dependency, out]) in (dependency, out) for out in outs)


def locked_entries(path: Path = LOCK) -> Entries:
    """The stages of a dvc.lock; none where there is no file."""
    from dvc.utils.serialize import load_yaml

    if not path.exists():
        return {}
    with dvc_errors():
        return dict(json.loads(json.dumps(load_yaml(path).get("stages", {}))))


def write_entries(path: Path, entries: Entries) -> None:
    """A dvc.lock of these alone."""
    from dvc.utils.serialize import dump_yaml

    dump_yaml(path, {"schema": "2.0", "stages": entries})


def take_over(entries: Mapping[str, Any], order: Iterable[str]) -> None:
    """Put entries into dvc.lock under DVC's lock, and all of it into this order of stages. No stage is run.

    Not by `dvc repro`: where dvc.lock names other results of the same inputs, as a committed one of another processor
    does, DVC looks for those alone, never into its run cache, and would train.
    """
    from dvc.repo import Repo
    from dvc.utils.serialize import dump_yaml, parse_yaml_for_update

    with dvc_errors(), Repo(_wait_for_lock=True) as repo, repo.lock:
        lock = parse_yaml_for_update(LOCK.read_text(encoding="utf-8") if LOCK.exists() else "", LOCK)
        lock.setdefault("schema", "2.0")
        stages = lock.setdefault("stages", {})
        stages.update(entries)
        for stage in order:
            if stage in stages:
                stages[stage] = stages.pop(stage)
        with atomic(LOCK) as temporary:  # the first part of a dvc.lock is valid too: DVC would miss nothing in it
            dump_yaml(temporary, lock)


def not_in_cache(stages: Collection[str]) -> list[str]:
    """Of these stages those of which dvc.lock names an output that DVC's cache has no more."""
    from dvc.repo import Repo

    lost = []
    with dvc_errors(), Repo(_wait_for_lock=True) as repo:
        for stage in repo.index.stages:
            if stage.addressing in stages and any(out.use_cache and out.changed_cache() for out in stage.outs):
                lost.append(stage.addressing)
    return sorted(lost)
