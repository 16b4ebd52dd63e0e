"""Weights and resume state as safetensors (no pickle), and the scratch folder in which an unfinished run lives."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from seal.clock import Clock
from seal.errors import UserError
from seal.record import Row, atomic

Tensors = dict[str, Tensor]
HANDOVER = "handover.safetensors"  # of a base run's record: what its arms go on from


class CheckpointError(UserError):
    """A checkpoint or scratch folder that cannot be used."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors in one file, whole or not at all. Equal tensors give equal bytes.

    Raises OSError where the disk is full.
    """
    with atomic(path) as temporary:
        try:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                temporary,
                dict(metadata or {}),
            )
        except SafetensorError as error:  # the system's message and no errno
            if f"os error {errno.ENOSPC}" not in str(error):
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def load_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors on the CPU and metadata. Raises CheckpointError where the file is not there or damaged."""
    if not path.exists():
        stage = f" base@{path.parent.name.rpartition('-')[2]}" if path.name == HANDOVER else ""
        raise CheckpointError(f"{path}: not found; `dvc repro{stage}` makes it")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except Exception as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); delete it and run again") from error


@dataclass
class State:
    """Everything that an unfinished training needs, as of the end of epoch `clock`."""

    clock: Clock | None = None
    model: Tensors = field(default_factory=dict)
    momentum: Tensors = field(default_factory=dict)
    best: Tensors = field(default_factory=dict)
    best_epoch: dict[str, Any] | None = None  # generation, epoch, val_accuracy of `best`
    rows: list[Row] = field(default_factory=list)
    generations: list[dict[str, Any]] = field(default_factory=list)

    def save(self, path: Path) -> None:
        # While the last epoch is the best, its weights are written once.
        best = {} if self.best is self.model else self.best
        groups = {"model": self.model, "momentum": self.momentum, "best": best}
        tensors = {f"{group}/{name}": value for group, members in groups.items() for name, value in members.items()}
        clock = None if self.clock is None else asdict(self.clock)
        facts = {"clock": clock, "best_epoch": self.best_epoch, "rows": self.rows, "generations": self.generations}
        save_tensors(path, tensors, {"state": json.dumps(facts, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> "State":
        tensors, metadata = load_tensors(path)
        facts = json.loads(metadata["state"])
        groups: dict[str, Tensors] = {"model": {}, "momentum": {}, "best": {}}
        for name, value in tensors.items():
            group, _, member = name.partition("/")
            groups[group][member] = value
        clock = None if facts["clock"] is None else Clock(**facts["clock"])
        if facts["best_epoch"] and not groups["best"]:
            groups["best"] = groups["model"]
        return cls(
            clock, **groups, best_epoch=facts["best_epoch"], rows=facts["rows"], generations=facts["generations"]
        )


def scratch_folder(run_name: str, facts: Mapping[str, Any], code: Iterable[str]) -> Path:
    """Where this very training keeps its resume state: named by a hash of the parameters, data and code that matter.

    Outside DVC's outputs, which are deleted before a stage runs. SEAL_SCRATCH moves it.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    root = Path(__file__).parents[1]
    for name in sorted(code):
        files = sorted((root / name).rglob("*.*")) if (root / name).is_dir() else [root / name]
        for file in (file for file in files if "__pycache__" not in file.parts):
            digest.update(file.read_bytes())
    return Path(os.environ.get("SEAL_SCRATCH", "scratch")) / f"{run_name}-{digest.hexdigest()[:16]}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a scratch folder's lock; raises CheckpointError where another process trains there or none can be made."""
    lock = FileLock(folder / "lock", blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise CheckpointError(f"another process is training in {folder}; wait for it, or stop it") from None
    except OSError as error:
        raise CheckpointError(
            f"{folder}: {error.strerror}, expected a folder for resume state; make it one that can be written, or name "
            "another by SEAL_SCRATCH"
        ) from error
    try:
        yield
    finally:
        lock.release()
