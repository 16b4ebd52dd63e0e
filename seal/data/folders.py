"""A user's folder of images, CLASS/FILE: which files are images of its classes, and which the system's own.

Nothing vanishes in silence: what cannot be read is an error. Packing, fetching and the listing of folders read by it.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seal.data.archives import DataError, Member, Members, inside, is_text

# Of systems and programs that leave their own beside images.
SYSTEM_NAMES = {
    "__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle",
    "#snapshot",
}  # fmt: skip


@contextmanager
def open_folder(paths: Sequence[Path]) -> Iterator[Members]:
    """The files `FOLDER/CLASS/*` of one folder, sorted by name."""
    (folder,) = paths
    members: Members = {}
    for path in class_files(folder):
        name = inside(folder, path.relative_to(folder).as_posix())
        members[name] = Member(name, path.stat().st_size, folder.name, path.read_bytes)
    yield members


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's, and not a class or an image of the user's."""
    return name.startswith((".", "@")) or name in SYSTEM_NAMES


def class_files(folder: Path) -> list[Path]:
    """The files FOLDER/CLASS/*, sorted, without hidden ones and the system's.

    Raises DataError for a class or file that is there and cannot be read.
    """
    files = []
    for path in _entries(folder):
        if not is_hidden(path.name) and _kind(path) == stat.S_IFDIR:
            files += [file for file in _entries(path) if not is_hidden(file.name) and _kind(file) == stat.S_IFREG]
    for file in files:
        is_text(folder, file.relative_to(folder).as_posix())
    return sorted(files)


def hidden_entries(folder: Path) -> int:
    """How many entries of a folder of classes, and of its classes, are hidden or the system's."""
    entries = _entries(folder)
    for path in list(entries):
        if not is_hidden(path.name) and _kind(path) == stat.S_IFDIR:
            entries += _entries(path)
    return sum(is_hidden(path.name) for path in entries)


def _entries(folder: Path) -> list[Path]:
    with readable(folder):
        return list(folder.iterdir())


def _kind(path: Path) -> int:
    """Whether it is a file, a folder or something else, what a link leads to."""
    with readable(path):
        if stat.S_IFMT(mode := path.stat().st_mode) in (stat.S_IFREG, stat.S_IFDIR) and not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat.S_IFMT(mode)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """A file or folder that cannot be read in the block raises DataError, which names it."""
    try:
        yield
    except OSError as error:
        dangles = error.errno == errno.ENOENT and path.is_symlink()
        fact = "a link to nothing" if dangles else error.strerror
        raise DataError(f"{path}: {fact}; make it one that can be read, or take it out of its folder") from error
