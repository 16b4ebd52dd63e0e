"""The scratch folder in which an unfinished training lives: which one is this training's, and who may write in it."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seal.checkpoint import CheckpointError
from seal.record import scratch_root


def scratch_folder(run_name: str, facts: Mapping[str, Any], code: Iterable[str]) -> Path:
    """Where this very training keeps its resume state: named by a hash of the parameters, data and code that matter.

    Outside DVC's outputs, which are deleted before a stage runs.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    root = Path(__file__).parents[1]
    for name in sorted(code):
        for file in _sources(root / name):
            digest.update(file.read_bytes())

    return scratch_root() / f"{run_name}-{digest.hexdigest()[:16]}"


def _sources(place: Path) -> list[Path]:
    """A file itself; of a folder its modules, and nothing hidden that an editor has left beside them."""
    if not place.is_dir():
        return [place]

    names = glob("**/*.py", root_dir=place, recursive=True)  # noqa: PTH207, as pathlib's gives what is hidden too
    return [place / name for name in sorted(names)]


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
