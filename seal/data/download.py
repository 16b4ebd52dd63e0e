"""Checksummed downloads that go on where they broke off, and the errors of a full disk.

Fetching downloads and compares files by it; packing asks it for room on the disk.
"""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock

from seal.data.archives import DataError
from seal.data.sources import Archive
from seal.stage import Report


def download(archive: Archive, folder: Path, report: Report) -> Path:
    """Download one archive, going on where a partial file ends; it takes its name once it has no `mismatch`.

    Two processes wait for each other. Raises DataError for a wrong checksum (the partial file is removed) or a full
    disk, OSError for the network (the partial file stays).
    """
    assert archive.url is not None
    folder.mkdir(parents=True, exist_ok=True)
    target, part = folder / archive.name, folder / f"{archive.name}.part"
    with FileLock(folder / f"{archive.name}.lock"):
        if target.exists():
            return target

        require_space(folder, (archive.bytes or 0) - _size(part))
        with full_disk_is_an_error(folder):
            _go_on(archive.url, part, report)

        if problem := mismatch(part, archive):
            part.unlink()
            raise DataError(f"{archive.name} from {archive.url}: {problem}; the file was removed, run again")
        part.replace(target)
    return target


def _go_on(url: str, part: Path, report: Report) -> None:
    """Append what the partial file lacks; a server without ranges sends all of it again."""
    size = _size(part)
    request = Request(url, headers={"Range": f"bytes={size}-"} if size else {})
    try:
        reply = urlopen(request, timeout=60)
    except HTTPError as error:
        if error.code == 416:  # no bytes are left, the partial file is whole
            return
        raise

    with reply, part.open("ab" if reply.status == 206 else "wb") as file:
        done = file.tell()
        length = reply.headers["Content-Length"]  # None: not said, and the checksum alone tells a whole file
        total = done + int(length) if length else None
        while chunk := reply.read(2**20):
            done += file.write(chunk)
            report(done, total or done)

    if total is not None and done < total:
        raise OSError(f"broke off at {done} of {total} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def mismatch(path: Path, archive: Archive) -> str:
    """How a file differs from the official one, in words; empty where it does not, as far as can be told.

    By its checksum; where none is published by its size, if that is known.
    """
    size = path.stat().st_size
    if not archive.has_checksum:
        return "" if archive.bytes in (None, size) else f"found {size} bytes, expected {archive.bytes}"

    kind, expected = ("sha256", archive.sha256) if archive.sha256 else ("md5", archive.md5)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()
    if actual == expected:
        return ""

    official = expected if archive.bytes is None else f"{expected} ({archive.bytes} bytes)"
    return f"found {kind} {actual} ({size} bytes), expected {official}"


def require_space(folder: Path, needed: int) -> None:
    """Raises DataError where the folder's disk has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        sizes = f"found {free / 1e6:.1f} MB free, expected {needed / 1e6:.1f} MB"
        raise DataError(f"{folder}: {sizes}; make room and run again")


@contextmanager
def full_disk_is_an_error(folder: Path) -> Iterator[None]:
    """A write below `folder` that finds no room raises DataError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(f"{folder}: the disk is full; make room and run again") from error
