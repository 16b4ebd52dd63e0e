"""Files of zip and tar archives, folders and tables, read in place: nothing is unpacked, so no link can harm.

A source opens its archives by one of the three `open_...`; layouts and packing read the members that these give.
"""

import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seal.errors import UserError, short

# An archive may claim at most FLOOR + RATIO times its own size: images hardly compress, a bomb does by 1,000 and more.
UNPACKED_FLOOR = 64 * 2**20
UNPACKED_RATIO = 20

Encoded = bytes | NDArray[np.uint8]  # an image file's content, or the grey levels [H, W] of a table's row

# A name in another encoding than its flag says, or an offset outside the file, is a ValueError; an empty name in a zip,
# an IndexError.
_DAMAGE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, struct.error, zipfile.BadZipFile, tarfile.TarError,
    zlib.error, lzma.LZMAError,
)  # fmt: skip


class DataError(UserError):
    """Data that cannot be used: damaged, not what was asked for, or without room on the disk."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive (or folder, or table): its name with `/`, its size once unpacked, and how to read it."""

    name: str
    bytes: int
    origin: str
    source: Callable[[], Encoded]

    def read(self) -> Encoded:
        """The content. Raises DataError where it is damaged or shorter than the archive says."""
        try:
            content = self.source()
        except _DAMAGE as error:
            raise DataError(f"{self.origin}: {self.name} is damaged or cannot be read: {error}") from error

        size = content.nbytes if isinstance(content, np.ndarray) else len(content)
        if size != self.bytes:
            raise DataError(f"{self.origin}: {self.name} is damaged: found {size} bytes, expected {self.bytes}")
        return content


Members = dict[str, Member]  # in storage order, which is the fast one to read them in


@contextmanager
def open_archives(paths: Sequence[Path]) -> Iterator[Members]:
    """The files of zip or tar archives (by content, not by name) in one name space.

    Raises DataError for an archive that is damaged, that holds a link, a device or a path outside its own folder, or
    that claims to unpack to more than UNPACKED_FLOOR + UNPACKED_RATIO times its size.
    """
    with ExitStack() as stack:
        members: Members = {}
        for path in paths:
            packed, unpacked = path.stat().st_size, 0
            limit = UNPACKED_FLOOR + UNPACKED_RATIO * packed

            for member in _listing(path, stack):
                unpacked += member.bytes
                if unpacked > limit:
                    raise DataError(f"{path.name}: {packed} bytes claim to unpack to more than {limit}: refused")
                members[member.name] = member

        yield members


def _listing(path: Path, stack: ExitStack) -> Iterator[Member]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    listing = _zip_listing if zipped else _tar_listing

    try:
        yield from listing(path, stack)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())  # tarfile says it once for each kind that it has tried
        raise DataError(f"{path.name}: damaged, or neither zip nor tar: {short(reason)}") from error


def _zip_listing(path: Path, stack: ExitStack) -> Iterator[Member]:
    archive = stack.enter_context(zipfile.ZipFile(path))
    for info in archive.infolist():
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{path.name}: {info.filename} is a link; expected plain files only")
        if not info.is_dir():
            yield Member(inside(path, info.filename), info.file_size, path.name, partial(archive.read, info))


def _tar_listing(path: Path, stack: ExitStack) -> Iterator[Member]:
    archive = stack.enter_context(tarfile.open(path))  # noqa: SIM115

    def content(info: tarfile.TarInfo) -> bytes:
        file = archive.extractfile(info)
        assert file is not None
        return file.read()

    for info in archive:
        if not (info.isfile() or info.isdir()):
            raise DataError(f"{path.name}: {info.name} is a link or a device; expected plain files only")
        if info.issparse():
            raise DataError(f"{path.name}: {info.name} is a sparse file; expected plain files only")
        if info.isfile():
            yield Member(inside(path, info.name), info.size, path.name, partial(content, info))


def is_text(path: Path, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{path.name}: {name!r} is no name in UTF-8; give it another") from None


def climbs_out(name: str) -> bool:
    """Whether a path leads out of its folder, on any system."""
    return bool(re.match(r"[/\\]|[A-Za-z]:", name)) or ".." in re.split(r"[/\\]", name)


def inside(path: Path, name: str) -> str:
    """The name without `./`; both kinds of slash, drives and `..` are looked for, whatever the system."""
    if climbs_out(name):
        raise DataError(f"{path.name}: {name} points outside the dataset's folder: refused")
    is_text(path, name)
    if "\n" in name:
        raise DataError(f"{path.name}: {name!r} has a line break in its name: refused")

    return "/".join(part for part in name.split("/") if part not in ("", "."))


@contextmanager
def open_table(paths: Sequence[Path], *, side: int, white: int) -> Iterator[Members]:
    """The rows of one csv.gz as files `LABEL/ROW`, ROW being five digits from 00000 over all classes.

    A row is side * side grey levels from 0 to `white`, then the label. Raises DataError where the table is damaged.
    """
    (path,) = paths
    try:
        rows = np.loadtxt(path, delimiter=",", dtype=np.uint8, ndmin=2)
    except _DAMAGE as error:
        raise DataError(f"{path.name}: damaged: {error}") from error

    levels, labels = rows[:, :-1], rows[:, -1]
    columns, whitest = rows.shape[1], levels.max(initial=0)
    if columns != side * side + 1 or whitest > white:
        raise DataError(
            f"{path.name}: found {columns} columns up to {whitest}, expected {side * side + 1} up to {white}"
        )

    grey = (levels.astype(np.uint16) * 255 + white // 2) // white
    images = grey.astype(np.uint8).reshape(-1, side, side)

    members: Members = {}
    for row, label in enumerate(labels):
        name = f"{label}/{row:05d}"
        members[name] = Member(name, side**2, path.name, partial(images.__getitem__, row))
    yield members
