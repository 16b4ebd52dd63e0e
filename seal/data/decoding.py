"""Image files decoded in parallel into a scratch file that survives a kill: the part of packing that takes time.

What is wrong with a file, and a digest of its content, is kept beside its pixels.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray

from seal.data import images as image_files
from seal.data.archives import DataError, Encoded, Member
from seal.data.download import full_disk_is_an_error, require_space
from seal.data.images import DIGEST_BYTES, Decoded, decode_checked
from seal.sections import Preprocessing
from seal.stage import Report

KINDS = ("rows", "digests", "bad")  # of scratch files, in the order of `Rows`
CHUNK = 64  # image files that a worker decodes at a time,
CHUNK_BYTES = 32 * 2**20  # or fewer that have as much: three chunks for each worker are in memory
BYTES_PER_WORKER = 32 * 2**20  # of image files: the first takes 0.7 s to start, and one decodes this in about 2 s


@dataclass(frozen=True)
class Rows:
    """What was decoded, in the order of the files; both arrays are mapped."""

    images: NDArray[np.uint8]  # [N, size, size, 3]
    digests: NDArray[np.uint8]  # [N, DIGEST_BYTES], of the files' contents
    bad: dict[int, str]  # position to reason; its image is black and its digest zero


@contextmanager
def decoded(
    files: Mapping[str, Member], size: int, how: Preprocessing, scratch: Path, inputs: str, workers: int, report: Report
) -> Iterator[Rows]:
    """The images of `files`, mapped from scratch files that are removed at a good end.

    The files are append-only and named after all that decides their content, so their length is the whole resume
    state. A lock makes a second process wait.
    """
    row_bytes = size * size * 3
    key = hashlib.sha256(json.dumps([inputs, list(files), PIL.__version__]).encode())
    key.update(Path(image_files.__file__).read_bytes())
    scratch.mkdir(parents=True, exist_ok=True)

    with FileLock(scratch / "lock"):
        name = key.hexdigest()[:16]
        rows, digests, bad = (scratch / f"{kind}-{name}" for kind in KINDS)
        with (
            full_disk_is_an_error(scratch),
            rows.open("ab") as row_file,
            digests.open("ab") as digest_file,
            bad.open("a", encoding="utf-8") as bad_file,
        ):
            _keep_whole_lines(bad)
            # A chunk's digests and reasons are written before its rows, so that there are at least as many.
            done = row_file.tell() // row_bytes
            row_file.truncate(done * row_bytes)
            digest_file.truncate(done * DIGEST_BYTES)
            require_space(scratch, (len(files) - done) * row_bytes)

            report(done, len(files))
            for chunk in _decode(list(files.values())[done:], size, how, workers):
                for position, reason in chunk.bad.items():
                    bad_file.write(json.dumps([done + position, reason]) + "\n")
                bad_file.flush()
                digest_file.write(chunk.digests)
                digest_file.flush()
                done += row_file.write(chunk.rows) // row_bytes
                row_file.flush()
                report(done, len(files))

        reasons = dict(map(json.loads, bad.read_text(encoding="utf-8").splitlines()))
        images = np.memmap(rows, np.uint8, "r", shape=(len(files), size, size, 3))
        contents = np.memmap(digests, np.uint8, "r", shape=(len(files), DIGEST_BYTES))
        yield Rows(images, contents, reasons)

        for kind in KINDS:
            for stale in scratch.glob(f"{kind}-*"):
                stale.unlink()


def _keep_whole_lines(path: Path) -> None:
    """Cut off what a kill has left of a last line."""
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)


def _decode(files: Sequence[Member], size: int, how: Preprocessing, workers: int) -> Iterator[Decoded]:
    """Decoded chunks, in order. This process reads the archive, the workers decode; few chunks are in flight."""
    workers = min(workers, sum(file.bytes for file in files) // BYTES_PER_WORKER)
    if workers < 2:
        for chunk in _chunks(files):
            yield decode_checked(chunk, size, how)
        return

    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _follow_parent) as pool:
        pending: deque[Future[Decoded]] = deque()
        for chunk in _chunks(files):
            pending.append(pool.submit(decode_checked, chunk, size, how))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()

        while pending:
            yield pending.popleft().result()


def _chunks(files: Sequence[Member]) -> Iterator[list[tuple[str, Encoded | DataError]]]:
    """Names and contents, or why there is none, read when asked for; a chunk ends as it is full by either."""
    chunk: list[tuple[str, Encoded | DataError]] = []
    size = 0
    for file in files:
        chunk.append((file.name, _content(file)))
        size += file.bytes
        if len(chunk) == CHUNK or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0

    if chunk:
        yield chunk


def _content(file: Member) -> Encoded | DataError:
    try:
        return file.read()
    except DataError as error:
        return error


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it ends, which a pool does not see to after a SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
