"""A user's folder of images on disk: which files are read, which are the system's own, and which cannot be read.

Nothing vanishes in silence. Packing, fetching and the listing of folders read by it.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from seal.data.archives import DataError, Member, Members, inside
from seal.sections import Dataset

# Of systems and programs that leave their own beside images.
SYSTEM_NAMES = {
    "__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle",
    "#snapshot",
}  # fmt: skip
PLAIN_NAME = re.compile(r"[\w .()+-]+", re.ASCII).fullmatch  # nothing to be looked for; most are so
CLASS_FOLDERS = 2  # levels of FOLDER/CLASS/FILE
MEND = "make it one that can be read, or take it out of its folder"


@dataclass(frozen=True)
class Scan:
    """The files of a folder, by names relative to it with `/`, without hidden ones and the system's."""

    files: list[str]  # that can be read, sorted by their parts
    unreadable: dict[str, str]  # name to reason


def folder_sha256(known: Scan, sha256_of: Callable[[str], str]) -> str:
    """Over the names and SHA-256 of its files, and the names of what cannot be read."""
    digest = hashlib.sha256()
    for name in known.files:
        digest.update(f"{sha256_of(name)} {name}\n".encode())
    for name in known.unreadable:
        digest.update(os.fsencode(f"unreadable {name}\n"))
    return digest.hexdigest()


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's, and not a class or an image of the user's."""
    return name.startswith((".", "@")) or name in SYSTEM_NAMES


def levels_of(dataset: Dataset) -> int | None:
    """At which level the files of the user's folder lie: below its classes, or at any (None)."""
    plain = dataset.source == "folder" and not (dataset.label or dataset.labels or dataset.split == "official")
    return CLASS_FOLDERS if plain else None


def scan(folder: Path, levels: int | None = CLASS_FOLDERS) -> Scan:
    """The files at this level of a folder, or at all. Raises DataError for a folder that cannot be read."""
    files: list[str] = []
    unreadable: dict[str, str] = {}

    def visit(place: str, level: int, above: tuple[Path, ...]) -> None:
        for entry in _entries(folder / place):
            if is_hidden(entry.name):
                continue
            below = f"{place}{entry.name}"
            is_file_level = levels in (None, level)
            try:
                kind = _kind(entry)
                if not PLAIN_NAME(entry.name):
                    inside(folder, below)
            except DataError as error:
                if not is_file_level:
                    raise
                unreadable[below] = str(error)
                continue

            if kind == stat.S_IFREG and is_file_level:
                files.append(below)
            elif kind == stat.S_IFDIR and level != levels:
                real = Path(entry.path).resolve()
                if real not in above:
                    visit(f"{below}/", level + 1, (*above, real))

    visit("", 1, (folder.resolve(),))
    return Scan(sorted(files, key=lambda name: name.replace("/", "\0")), unreadable)


def everything(folder: Path) -> Iterator[str]:
    """Every file below a folder, hidden or not, that can be seen; of names that are no UTF-8, with surrogates."""
    for place, _, names in os.walk(folder, followlinks=False):
        below = os.path.relpath(place, folder).replace(os.sep, "/")
        for name in names:
            yield name if below == "." else f"{below}/{name}"


@contextmanager
def open_folder(paths: Sequence[Path], levels: int | None = CLASS_FOLDERS) -> Iterator[Members]:
    """The files of one folder at these levels, sorted by name. One that cannot be read is a member whose reading says
    why."""
    (folder,) = paths
    known = scan(folder, levels)
    members: Members = {}
    for name in known.files:
        members[name] = Member(name, (folder / name).stat().st_size, folder.name, partial(_content, folder, name))
    for name, reason in known.unreadable.items():
        members[name] = Member(name, 0, folder.name, partial(_fail, reason))
    yield members


def _content(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def _fail(reason: str) -> bytes:
    raise DataError(reason)


def hidden_entries(folder: Path) -> int:
    """How many entries of a folder of classes, and of its classes, are hidden or the system's."""
    entries = _entries(folder)
    for entry in list(entries):
        if not is_hidden(entry.name) and _kind(entry) == stat.S_IFDIR:
            entries += _entries(Path(entry.path))
    return sum(is_hidden(entry.name) for entry in entries)


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    with readable(folder), os.scandir(folder) as entries:
        return list(entries)


def _kind(entry: "os.DirEntry[str]") -> int:
    """Whether it is a file, a folder or something else, what a link leads to."""
    try:
        kind = stat.S_IFMT(entry.stat().st_mode)
        if kind in (stat.S_IFREG, stat.S_IFDIR) and not os.access(entry.path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), entry.path)
    except OSError as error:
        raise _unreadable(Path(entry.path), error) from error
    return kind


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """A file or folder that cannot be read in the block raises DataError, which names it."""
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    dangles = error.errno == errno.ENOENT and path.is_symlink()
    fact = "a link to nothing" if dangles else error.strerror
    return DataError(f"{path}: {fact}; {MEND}")
