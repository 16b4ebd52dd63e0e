"""A copy of what the stages read when they were submitted: an edit made while jobs wait changes none of them."""

import compileall
import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from seal.cluster.pipeline import Pipeline
from seal.cluster.settings import configure
from seal.cluster.submission import CLUSTER, Submission
from seal.errors import UserError
from seal.files import new_folder


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
        with new_folder(submission.files) as temporary:
            for path in files:
                (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, temporary / path)
            compileall.compile_dir(temporary, quiet=2)  # once, not by each job in its copy
            configure(temporary)
            with suppress(OSError):  # another was first
                temporary.rename(submission.files)

    complete = all((submission.files / path).is_file() for path in files)
    if not complete or digest_of(submission.files, files) != submission.folder.name:
        place = submission.files.relative_to(Path.cwd())
        raise UserError(
            f"{place}: found other files than its name stands for; remove {place.parent} and submit again, "
            "which takes what was done from DVC's run cache"
        )
    return submission
