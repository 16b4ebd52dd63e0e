"""Make a pack, the stage `python -m seal.data.packing DATASET`: from a dataset's files to the file that trainings read.

Images are chosen by `selection`, decoded by `decoding`, looked over by `usable`, and written by `writing`.
"""

import json
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from seal.data.archives import DataError, Members, open_archives
from seal.data.decoding import decoded
from seal.data.drawing import check_own
from seal.data.fetched import SourceRecord, read_record
from seal.data.folders import CLASS_FOLDERS, everything, hidden_entries, levels_of, open_folder
from seal.data.layouts import Item, class_folders, files_of, left_out, reason
from seal.data.own import own_images, why_not, without_root
from seal.data.pack import PACKS, SPLITS
from seal.data.places import Places, relocate, source_of
from seal.data.recognise import COPIED, copy_of, rooted
from seal.data.selection import Selection, follows_list, parameters_of, read_list, select
from seal.data.usable import sound
from seal.data.writing import SplitRows, split_rows, write_pack
from seal.processor import usable_cores
from seal.record import scratch_root
from seal.sections import Dataset
from seal.stage import Report, dataset_stage


def make_pack(
    target: Path, name: str, dataset: Dataset, record: SourceRecord, paths: Sequence[Path], *,
    scratch: Path, workers: int, report: Report,
) -> dict[str, int]:  # fmt: skip
    """Write the pack of a dataset from its archives, and say how many images each split has.

    Equal inputs give equal bytes, whatever the number of workers.
    Decoded images are appended to a file in `scratch`; a later call with the same inputs goes on where it ends.
    What is left out of a user's own images is listed in left_out/NAME.csv beside the packs' folder.
    Raises DataError where the data are damaged, are not what the parameters ask for, or do not fit on the disk.
    """
    listed = read_list(Path(str(dataset.split))) if follows_list(dataset) else None
    provenance = _provenance(dataset, record)
    with opened(dataset, paths) as (members, items, files_there):
        selection = _selected(items, dataset, listed, official=provenance["official"])
        files = _chosen_files(members, selection, paths[0].name)

        inputs, size, how = json.dumps(provenance), dataset.image_size, dataset.preprocessing
        with decoded(files, size, how, scratch / f"pack-{name}", inputs, workers, report) as rows:
            names = list(files)
            named = set(files_of(items))
            others = _others(dataset, paths, members, files_there, named, files)
            usable = sound(selection, names, rows.digests, rows.bad, dataset, list_of(target), others)
            _check(usable.selection, dataset)

            provenance |= _left_out(dataset, paths, members, files_there, named) | usable.counts(selection)
            facts = {"name": name, "status": "present", "classes": selection.classes, "provenance": provenance}
            write_pack(target, rows.images, split_rows(usable.selection, names), facts)

    return {split: len(items) for split, items in usable.selection.splits.items()}


def list_of(pack: Path) -> Path:
    """Where what a pack leaves out is listed."""
    return pack.parent.with_name("left_out") / f"{pack.stem}.csv"


def make_missing_pack(target: Path, name: str, dataset: Dataset, why: str) -> None:
    """Write a pack without images that says why."""
    none = SplitRows(np.zeros(0, np.int64), np.zeros(0, np.int64), [])
    images = np.zeros((0, dataset.image_size, dataset.image_size, 3), np.uint8)
    write_pack(target, images, dict.fromkeys(SPLITS, none), {"name": name, "status": "missing", "reason": why})


@contextmanager
def opened(dataset: Dataset, paths: Sequence[Path]) -> Iterator[tuple[Members, list[Item], Set[str]]]:
    """A dataset's files, by names below its root; its images; and what files there are, below the root or not. What is
    recognised or read from elsewhere is said."""
    source, origin = source_of(dataset), paths[0].name
    with _open(dataset, paths) as archived:
        if dataset.source != "folder":
            yield *rooted(archived, source, origin), archived.keys()
            return

        members, root = archived, ""
        if levels_of(dataset) is None or paths[0].is_file():
            root, members = without_root(archived, dataset)
        if root:
            print(f"{origin}: read from {root}", file=sys.stderr)

        plain = levels_of(dataset) == CLASS_FOLDERS
        items = class_folders(members) if plain else own_images(members, dataset)
        if (copied := copy_of(items)) is not None:
            print(f"{origin}: as many images and classes as {COPIED[copied]}", file=sys.stderr)
        yield members, items, archived.keys()


@contextmanager
def _open(dataset: Dataset, paths: Sequence[Path]) -> Iterator[Members]:
    if dataset.path is None:
        opening = source_of(dataset).open(paths)
    else:
        opening = open_archives(paths) if paths[0].is_file() else open_folder(paths, levels_of(dataset))
    with opening as members:
        yield members


def _selected(
    items: Sequence[Item], dataset: Dataset, listed: Mapping[str, str] | None, *, official: bool
) -> Selection:
    source = source_of(dataset)
    counts, totals = (None, None) if official else (source.per_class, source.images)
    selection = select(items, dataset, listed=listed, classes=source.classes, counts=counts, totals=totals)
    if len(selection.classes) < 2:
        raise DataError(f"classes: found {selection.classes[0]} alone, expected two or more to tell apart")

    _check(selection, dataset)
    return selection


def _check(selection: Selection, dataset: Dataset) -> None:
    """Raises DataError for splits that cannot be meant: before anything is decoded, and of what is left after it."""
    if not selection.splits["train"]:
        raise DataError(
            f"split {dataset.split}: found no image in train, expected some; choose smaller fractions, or name "
            "images of train"
        )
    if dataset.source == "folder":
        key, fractions = ("draw", dataset.draw) if dataset.draw else ("split", dataset.split)
        check_own(selection.classes, selection.splits, key, fractions)


def _provenance(dataset: Dataset, record: SourceRecord) -> dict[str, Any]:
    """What a pack is made from: the source's record, without the machine, and the parameters that choose images."""
    provenance = {key: record[key] for key in ("source", "homepage", "licence", "archives")}
    provenance["official"] = all(archive["official"] for archive in record["archives"])
    provenance["selection"] = parameters_of(dataset)
    return provenance


def _left_out(
    dataset: Dataset, paths: Sequence[Path], members: Members, files_there: Set[str], named: Set[str]
) -> dict[str, Any]:
    """What is none of the `named` images of a class, by reason; said, and kept where there is any."""
    if source_of(dataset).layout is not class_folders:
        return {}

    if dataset.source == "folder":
        root = _root(members)
        others = files_there - {root + name for name in named}
        reasons = dict(sorted(Counter(_why_not(name, root, dataset) for name in others).items()))
    else:
        reasons = left_out(members)

    if dataset.path is not None and paths[0].is_dir() and (hidden := hidden_entries(paths[0])):
        reasons["hidden or the system's"] = hidden
    if not reasons:
        return {}

    print(f"left out: {_listed(reasons)}", file=sys.stderr)
    return {"left_out": reasons}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {of_what}" for of_what, count in counts.items())


def _others(
    dataset: Dataset, paths: Sequence[Path], members: Members, files_there: Iterable[str], named: Set[str],
    chosen: Container[str],
) -> Iterator[tuple[str, str]]:  # fmt: skip
    """Every file of a user's own folder or archive that is not among the chosen, with the reason; by its name below the
    dataset's root, or else by the way to it from there. What a link to a folder leads to is among the members alone."""
    if dataset.source != "folder":
        return

    root = _root(members)
    all_files = everything(paths[0]) if paths[0].is_dir() else files_there
    for path in dict.fromkeys(chain(all_files, (root + name for name in members))):
        name = path.removeprefix(root)
        is_below = path.startswith(root)
        if is_below and name in chosen:
            continue
        why = "" if is_below and name in named else _why_not(path, root, dataset)
        yield name if is_below else "../" * root.count("/") + path, why or "not chosen"


def _root(members: Members) -> str:
    """The folder below which the members' names are, with its slash."""
    return next((member.name.removesuffix(name) for name, member in members.items()), "")


def _why_not(path: str, root: str, dataset: Dataset) -> str:
    """Why a file of a user's own is no image of a class; empty where by its name it is one, or stands in the csv."""
    name = path.removeprefix(root)
    return reason(name) if levels_of(dataset) == CLASS_FOLDERS else why_not(name, dataset)


def _chosen_files(members: Members, selection: Selection, origin: str) -> Members:
    """The files of the chosen images, in storage order. Raises DataError for an image whose file is not there."""
    names = set(files_of(chain.from_iterable(selection.splits.values())))
    lacking = sorted(names - members.keys())
    if lacking:
        raise DataError(f"{origin}: {len(lacking)} images are named but not there: {', '.join(lacking[:3])}")
    return {name: member for name, member in members.items() if name in names}


def main(arguments: Sequence[str] | None = None) -> None:
    with dataset_stage("pack", "images", arguments) as (name, dataset, report):
        record, target = read_record(name), PACKS / f"{name}.safetensors"
        if record["status"] == "missing":
            make_missing_pack(target, name, dataset, record["reason"])
            print(f"pack@{name}: missing: {record['reason']}", file=sys.stderr)
            return

        paths = relocate(record, dataset, Places.of_environment())
        scratch, cores = scratch_root(), usable_cores()
        try:
            made = make_pack(target, name, dataset, record, paths, scratch=scratch, workers=cores, report=report)
        except BrokenExecutor as error:  # a worker that the system ended, as where memory is short
            raise DataError(str(error)) from error
        print(f"pack@{name}: {_listed(made)} images", file=sys.stderr)


if __name__ == "__main__":
    main()
