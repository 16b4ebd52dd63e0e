"""How a file or folder takes its name: whole, by a rename, or not at all; and what a killed process leaves goes.

Whoever writes a record, a pack, a report or a resume state does it by this. A made table takes its place in a page.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its name when the block ends well, and is removed when it does not.

    It replaces a name and never what the name leads to: links into DVC's cache stay whole. What a killed process has
    left of an earlier try goes.
    """
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_litter(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_owned(path))
        os.close(handle)
        with _renamed(Path(name), path) as temporary:
            yield temporary


def is_locked(path: Path) -> bool:
    """Whether a process holds this lock; a look makes no file."""
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0.1):  # another that looks holds it for a moment
            return False
    except Timeout:
        return True


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A system's error that names no file, or an unfinished one, as a rename's first or a copy's second, names what was
    to be written."""
    try:
        yield
    except OSError as error:
        names = [Path(str(name)) for name in (error.filename, error.filename2) if name is not None]
        if not names or any(_is_unfinished(name, path) for name in names):
            error.filename, error.filename2 = str(path), None
        raise


def _is_unfinished(name: Path, path: Path) -> bool:
    """Whether it is, or lies in, what a process makes beside `path` to put it in its place."""
    return any(part.startswith(f".{path.name}.") for part in name.parts)


@contextmanager
def _renamed(temporary: Path, path: Path) -> Iterator[Path]:
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(beside: Path) -> Iterator[Path]:
    """An empty folder beside a path, in which what is to take its place is made whole; it is gone at the end."""
    with _named(beside):
        beside.parent.mkdir(parents=True, exist_ok=True)
        remove_litter(beside)
        temporary = Path(tempfile.mkdtemp(dir=beside.parent, prefix=_owned(beside)))
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(made: Path, target: Path) -> None:
    """Rename a file or folder to a name that may be another's; needs no room on the disk. What a killed process has
    left of an earlier try goes."""
    remove_litter(target)
    if target.is_dir() and not target.is_symlink():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=_owned(target)))
        target.rename(old / target.name)
        made.rename(target)
        shutil.rmtree(old)
    else:
        made.replace(target)


def _owned(path: Path) -> str:
    """How the names of a process's unfinished files begin."""
    return f".{path.name}.{platform.node()}-{os.getpid()}."


def remove_litter(path: Path) -> None:
    """Remove what a process that is no more has left beside a path that it was to write. Other machines' stays: whether
    their processes live cannot be seen from here; and an editor's or a user's own, as `.params.yaml.swp`."""
    for left in path.parent.iterdir():
        if left.name.startswith(f".{path.name}.") and not _may_live(left.name.removeprefix(f".{path.name}.")):
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)


def _may_live(owner: str) -> bool:
    """Whether the owner that a name tells may be at work, or is no process of this project."""
    machine, _, rest = owner.rpartition("-")
    pid = rest.partition(".")[0]
    if machine != platform.node() or not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def with_table(text: str, name: str, table: str) -> str:
    """A page with a table in its place, between the two comments that name it and end it. Raises ValueError unless
    there is one such place, which ends before the next one begins."""
    begin, end = f"<!-- table: {name} -->\n", "\n<!-- end -->"
    if text.count(begin) != 1:
        raise ValueError(f"found {text.count(begin)}, expected one {begin.strip()}")

    before, _, rest = text.partition(begin)
    old, ended, after = rest.partition(end)
    if not ended or "<!-- table: " in old:
        raise ValueError(f"found {begin.strip()} without its {end.strip()}, expected both")
    return f"{before}{begin}{table}{end}{after}"
