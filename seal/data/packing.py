"""Make a pack, the stage `python -m seal.data.packing DATASET`.

Images are decoded in parallel into a scratch file that survives a kill, sorted, and written whole or not at all.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from filelock import FileLock
from numpy.typing import NDArray
from safetensors.numpy import save_file

from seal.data import images as image_files
from seal.data.archives import DataError, Encoded, Member, Members
from seal.data.download import Report, full_disk_is_an_error, require_space
from seal.data.fetch import Places, SourceRecord, read_record, relocate, source_of
from seal.data.folders import hidden_entries
from seal.data.layouts import below, class_folders, left_out
from seal.data.pack import METADATA, PACKS, SCHEMA, SPLITS
from seal.data.selection import Selection, follows_list, parameters_of, read_list, select
from seal.data.source import Source
from seal.record import atomic
from seal.sections import Dataset
from seal.stage import dataset_stage

CHUNK = 64  # image files that a worker decodes at a time
BYTES_PER_WORKER = 32 * 2**20  # of image files: the first takes 0.7 s to start, and one decodes this in about 2 s

Array = NDArray[Any]


def make_pack(
    target: Path, name: str, dataset: Dataset, record: SourceRecord, paths: Sequence[Path], *,
    scratch: Path, workers: int, report: Report,
) -> dict[str, int]:  # fmt: skip
    """Write the pack of a dataset from its archives, and say how many images each split has.

    Equal inputs give equal bytes, whatever the number of workers.
    Decoded images are appended to a file in `scratch`; a later call with the same inputs goes on where it ends.
    Raises DataError where the data are damaged, are not what the parameters ask for, or do not fit on the disk.
    """
    source, origin = source_of(dataset), paths[0].name
    listed = read_list(Path(str(dataset.split))) if follows_list(dataset) else None
    provenance = _provenance(dataset, record)
    counts, totals = (None, None) if provenance["official"] else (source.per_class, source.images)

    with source.open(paths) as archived:
        members = below(archived, source.root, origin)
        selection = select(
            source.layout(members), dataset, listed=listed, classes=source.classes, counts=counts, totals=totals
        )
        if len(selection.classes) < 2:
            raise DataError(f"classes: found {selection.classes[0]} alone, expected two or more to tell apart")
        files = _chosen_files(members, selection, origin)

        inputs = json.dumps(provenance)
        with decoded(files, dataset.image_size, scratch / f"pack-{name}", inputs, workers, report) as images:
            tensors = _tensors(selection, images, list(files))
            provenance |= _left_out(source, dataset, members)
            metadata = {"name": name, "status": "present", "classes": selection.classes, "provenance": provenance}
            _write(target, tensors, metadata)

    return {split: len(items) for split, items in selection.splits.items()}


def make_missing_pack(target: Path, name: str, dataset: Dataset, reason: str) -> None:
    """Write a pack without images that says why."""
    size = dataset.image_size
    tensors: dict[str, Array] = {}
    for split in SPLITS:
        tensors[f"{split}/images"] = np.zeros((0, size, size, 3), np.uint8)
        tensors[f"{split}/labels"] = np.zeros(0, np.int64)
        tensors[f"{split}/files"] = np.zeros(0, np.uint8)
    _write(target, tensors, {"name": name, "status": "missing", "reason": reason})


def _provenance(dataset: Dataset, record: SourceRecord) -> dict[str, Any]:
    """What a pack is made from: the source's record, without the machine, and the parameters that choose images."""
    provenance = {key: record[key] for key in ("source", "homepage", "licence", "archives")}
    provenance["official"] = all(archive["official"] for archive in record["archives"])
    provenance["selection"] = parameters_of(dataset)
    return provenance


def _left_out(source: Source, dataset: Dataset, members: Members) -> dict[str, Any]:
    """What of a folder of classes is no image of a class, by reason; said, and kept where there is any."""
    if source.layout is not class_folders:
        return {}

    reasons = left_out(members)
    if dataset.path is not None and (hidden := hidden_entries(Path(dataset.path))):
        reasons["hidden or the system's"] = hidden
    if not reasons:
        return {}
    print("left out: " + ", ".join(f"{count} {reason}" for reason, count in reasons.items()), file=sys.stderr)
    return {"left_out": reasons}


def _chosen_files(members: Members, selection: Selection, origin: str) -> Members:
    """The files of the chosen images, in storage order. Raises DataError for an image whose file is not there."""
    names: set[str] = set()
    for items in selection.splits.values():
        names.update(item.file for item in items)

    lacking = sorted(names - members.keys())
    if lacking:
        raise DataError(f"{origin}: {len(lacking)} images are named but not there: {', '.join(lacking[:3])}")
    return {name: member for name, member in members.items() if name in names}


def _tensors(selection: Selection, images: NDArray[np.uint8], files: Sequence[str]) -> dict[str, Array]:
    """The pack's tensors; `images` [N, size, size, 3] are those of `files`, in that order."""
    position = {file: row for row, file in enumerate(files)}
    label = {name: index for index, name in enumerate(selection.classes)}

    tensors: dict[str, Array] = {}
    for split, items in selection.splits.items():
        names = "\n".join(item.file for item in items)
        tensors[f"{split}/images"] = images[[position[item.file] for item in items]]
        tensors[f"{split}/labels"] = np.array([label[item.label] for item in items], np.int64)
        tensors[f"{split}/files"] = np.frombuffer(names.encode(), np.uint8)
    return tensors


def _write(target: Path, tensors: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    require_space(target.parent, sum(array.nbytes for array in tensors.values()))
    with full_disk_is_an_error(target.parent), atomic(target) as temporary:
        save_file(dict(tensors), temporary, {METADATA: json.dumps({"schema": SCHEMA, **metadata}, sort_keys=True)})


@contextmanager
def decoded(
    files: Mapping[str, Member], size: int, scratch: Path, inputs: str, workers: int, report: Report
) -> Iterator[NDArray[np.uint8]]:
    """The images of `files` as uint8 [N, size, size, 3], mapped from a scratch file that is removed at a good end.

    The file is append-only and named after all that decides its content, so its length is the whole resume state. A
    lock makes a second process wait.
    """
    row_bytes = size * size * 3
    key = hashlib.sha256(json.dumps([inputs, list(files), PIL.__version__]).encode())
    key.update(Path(image_files.__file__).read_bytes())
    scratch.mkdir(parents=True, exist_ok=True)

    with FileLock(scratch / "lock"):
        path = scratch / f"rows-{key.hexdigest()[:16]}"
        with full_disk_is_an_error(scratch), path.open("ab") as file:
            done = file.tell() // row_bytes
            file.truncate(done * row_bytes)
            require_space(scratch, (len(files) - done) * row_bytes)

            report(done, len(files))
            for rows in _decode(list(files.values())[done:], size, workers):
                done += file.write(rows) // row_bytes
                file.flush()
                report(done, len(files))

        yield np.memmap(path, np.uint8, "r", shape=(len(files), size, size, 3))

        for stale in scratch.glob("rows-*"):
            stale.unlink()


def _decode(files: Sequence[Member], size: int, workers: int) -> Iterator[bytes]:
    """Decoded chunks, in order. This process reads the archive, the workers decode; few chunks are in flight."""
    workers = min(workers, sum(file.bytes for file in files) // BYTES_PER_WORKER)
    if workers < 2:
        for chunk in _chunks(files):
            yield image_files.decode_images(chunk, size)
        return

    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _follow_parent) as pool:
        pending: deque[Future[bytes]] = deque()
        for chunk in _chunks(files):
            pending.append(pool.submit(image_files.decode_images, chunk, size))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()

        while pending:
            yield pending.popleft().result()


def _chunks(files: Sequence[Member]) -> Iterator[list[tuple[str, Encoded]]]:
    """Names and contents, read when asked for."""
    for start in range(0, len(files), CHUNK):
        yield [(file.name, file.read()) for file in files[start : start + CHUNK]]


def _follow_parent() -> None:
    """In a worker: leave Ctrl-C to the parent, and end when it ends, which a pool does not see to after a SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: Sequence[str] | None = None) -> None:
    with dataset_stage("pack", "images", arguments) as (name, dataset, report):
        record, target = read_record(name), PACKS / f"{name}.safetensors"
        if record["status"] == "missing":
            make_missing_pack(target, name, dataset, record["reason"])
            print(f"pack@{name}: missing: {record['reason']}", file=sys.stderr)
        else:
            paths = relocate(record, dataset, Places.of_environment())
            scratch = Path(os.environ.get("SEAL_SCRATCH", "scratch"))
            workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            try:
                made = make_pack(target, name, dataset, record, paths, scratch=scratch, workers=workers, report=report)
            except BrokenExecutor as error:  # a worker that the system ended, as where memory is short
                raise DataError(str(error)) from error
            counts = ", ".join(f"{count} {split}" for split, count in made.items())
            print(f"pack@{name}: {counts} images", file=sys.stderr)


if __name__ == "__main__":
    main()
