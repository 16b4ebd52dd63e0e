"""cluster/<digest>/: a copy of what the stages read, as it was when it was submitted, and what is known of its jobs.

An edit made while jobs wait changes none of them. Every other file here asks `Submission` for its paths.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal.cluster.pipeline import Entries, Pipeline, configure
from seal.errors import UserError
from seal.record import atomic, read_json

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
        """How it was last submitted: `how`, `places`, `threads`; the `cache`; `needs` of its stages, of which those
        that lacked were `sent`; `entries` of dvc.lock that were current, and its `order` before all."""
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

    def log(self, stage: str) -> Path:
        return self.folder / "log" / f"{stage}.log"

    def mark(self, stage: str) -> Facts | None:
        """What its last job wrote of itself; `state` is running, done or failed. None where none has begun."""
        path = self.folder / "marks" / f"{stage}.json"
        return dict(read_json(path)) if path.exists() else None

    def write_mark(self, stage: str, **facts: Any) -> None:
        write_facts(self.folder / "marks" / f"{stage}.json", facts)

    def done(self, stages: Iterable[str]) -> dict[str, Facts]:
        """The marks of those among these stages whose jobs ended well."""
        marks = {stage: self.mark(stage) for stage in stages}
        return {stage: mark for stage, mark in marks.items() if mark is not None and mark["state"] == "done"}

    def entries(self) -> Entries:
        """Of dvc.lock: what was current when it was submitted, and what its jobs have done since."""
        facts = self.facts
        entries: Entries = facts["entries"]
        return entries | {stage: mark["entry"] for stage, mark in self.done(facts["needs"]).items()}

    def environment(self) -> dict[str, str]:
        """For a job: this Python's commands, and the snapshot's code, whatever the project's is by then."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {
            "PATH": path,
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


def submission_of(pipeline: Pipeline) -> Submission:
    """That of the working tree as it is now; there may be no snapshot of it yet."""
    return Submission(CLUSTER.absolute() / digest_of(Path.cwd(), files_read(pipeline)))


def files_read(pipeline: Pipeline) -> list[Path]:
    """Whatever a stage reads that no stage makes; and all modules of a package, which import one another unnamed."""
    files = {Path("dvc.yaml"), Path("params.yaml"), Path(".dvcignore")}  # without it __pycache__ would change hashes
    for path in pipeline.files:
        if not path.exists():
            raise UserError(f"{path}: not found, expected it as dvc.yaml names it; `git checkout {path}` restores it")
        files |= {*path.rglob("*")} if path.is_dir() else {path}
        if len(path.parts) > 1:
            files |= {*Path(path.parts[0]).rglob("*.py")}
    return sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts)


def digest_of(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path}\0".encode() + hashlib.sha256((root / path).read_bytes()).digest())
    return digest.hexdigest()[:12]


def take_snapshot(pipeline: Pipeline) -> Submission:
    """Make cluster/<digest>/ where there is none; raises UserError where it holds other files than its name says."""
    submission, files = submission_of(pipeline), files_read(pipeline)
    if not submission.files.exists():
        for folder in ("log", "marks", "work", "../lock"):
            (submission.folder / folder).mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=submission.folder, prefix=".snapshot."))
        for path in files:
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, temporary / path)
        configure(temporary)
        with suppress(OSError):  # another was first
            temporary.rename(submission.files)
        shutil.rmtree(temporary, ignore_errors=True)

    complete = all((submission.files / path).is_file() for path in files)
    if not complete or digest_of(submission.files, files) != submission.folder.name:
        place = submission.files.relative_to(Path.cwd())
        raise UserError(
            f"{place}: found other files than its name stands for; remove {place.parent} and submit again, "
            "which takes what was done from DVC's run cache"
        )
    return submission
