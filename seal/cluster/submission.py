"""cluster/<digest>/: where what is known of a submission and its jobs lies, and how it is written and read.

Every other file here asks `Submission` for its paths.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal.cluster.pipeline import Entries
from seal.cluster.stages import HERE, kind, with_all_above
from seal.files import is_locked
from seal.record import atomic, read_json
from seal.study.dvc_repo import commands_path

CLUSTER = Path("cluster")
MARKER = "SEAL_CLUSTER"  # in the environment of every process that a submission starts here
Facts = dict[str, Any]


@dataclass(frozen=True)
class Submission:
    """What is, or was, submitted from one state of the code and parameters."""

    folder: Path  # absolute: <project>/cluster/<digest>

    @property
    def project(self) -> Path:
        return self.folder.parents[1]

    @property
    def files(self) -> Path:
        return self.folder / "snapshot"

    @property
    def work(self) -> Path:
        """Where jobs have their workspaces, each until it ends."""
        return self.folder / "work"

    @property
    def facts(self) -> Facts:
        """How it was last submitted: `how`, `places`; the `cache`; `needs` of its stages, of which those that lacked
        were `sent`; `entries` of dvc.lock that were current, and its `order` before all."""
        return dict(read_json(self.facts_path))

    @property
    def facts_path(self) -> Path:
        return self.folder / "submitted.json"

    @property
    def submitted_at(self) -> float:
        """Unix time."""
        return self.facts_path.stat().st_mtime

    def lock(self, name: str) -> Path:
        """Held while a stage, or what else bears this name, is at work; the same for every submission."""
        return self.folder.parent / "lock" / name

    def is_held(self, name: str) -> bool:
        """Whether a process holds this lock."""
        return is_locked(self.lock(name))

    def log(self, stage: str) -> Path:
        return self.folder / "log" / f"{stage}.log"

    def mark(self, stage: str) -> Facts | None:
        """What its last job wrote of itself; `state` is running, done or failed. None where none has begun."""
        path = self._mark_path(stage)
        return dict(read_json(path)) if path.exists() else None

    def write_mark(self, stage: str, **facts: Any) -> None:
        write_facts(self._mark_path(stage), facts)

    def _mark_path(self, stage: str) -> Path:
        return self.folder / "marks" / f"{stage}.json"

    def begin(self, facts: Facts, stages: Iterable[str]) -> None:
        """Note what is handed over now, before the first job reads it. What an earlier job said of one of these stages
        goes, unless it is at work: what was done is done no more, where it is sent again, as what stands above it has
        changed since."""
        self.forget(stage for stage in stages if not self.is_held(stage))
        write_facts(self.facts_path, facts)

    def forget(self, stages: Iterable[str]) -> None:
        """What jobs have said of these stages."""
        for stage in stages:
            self._mark_path(stage).unlink(missing_ok=True)

    def done(self, stages: Iterable[str]) -> Entries:
        """Of dvc.lock: what the jobs have made of those among these stages that ended well."""
        entries: Entries = {}
        for stage in stages:
            mark = self.mark(stage)
            if mark is not None and mark["state"] == "done":
                entries[stage] = mark["entry"]
        return entries

    def entries_for(self, stage: str) -> Entries:
        """Of dvc.lock, for a stage's job: what stands above it, as it was when it was submitted or as jobs have made
        it since; all that was fetched and packed; and itself, where it was done."""
        facts = self.facts
        above = with_all_above({stage}, facts["needs"])
        entries = facts["entries"] | self.done(above)
        return {name: entry for name, entry in entries.items() if name in above or kind(name) in HERE}

    def environment(self) -> dict[str, str]:
        """For a job: this Python's commands, and the snapshot's code, whatever the project's is by then."""
        return {
            "PATH": commands_path(),
            "PYTHONDONTWRITEBYTECODE": "",  # images of containers set it: DVC and torch then start half as fast
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.files), os.environ.get("PYTHONPATH")])),
            MARKER: str(self.folder),
        }


def write_facts(path: Path, facts: Facts) -> None:
    """Keys in their order, which is that of dvc.lock's entries."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def submissions() -> list[Submission]:
    """All that this project has."""
    return [Submission(facts.parent) for facts in CLUSTER.absolute().glob("*/submitted.json")]
