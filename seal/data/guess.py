"""`seal data --guess PATH`: which layout a folder or archive of images has, and its entry for params.yaml."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import filterfalse
from pathlib import Path
from posixpath import basename, dirname
from typing import Any

from seal.data import columns
from seal.data.archives import DataError, Members, open_archives
from seal.data.folders import open_folder
from seal.data.labelled import Places
from seal.data.layouts import SPLIT_NAMES, Item, below, files_of, labels_of, no_image, splits_of
from seal.data.own import own_images, why_not, without_root
from seal.data.recognise import COPIED, copy_of, recognised
from seal.data.sources import SOURCES
from seal.sections import Dataset
from seal.yaml_files import in_one_line

FRACTIONS = {"test": 0.2, "val": 0.1}
SIZE = 64


@dataclass(frozen=True)
class Guess:
    """What a folder looks like, in words, and the dataset's entry in params.yaml."""

    says: str
    entry: dict[str, Any]


def guess(path: Path) -> Guess:
    """Raises DataError where there are no images in any layout that is known."""
    with _open(path) as members:
        return _copy(members, path) or _table(members, path) or _folders(members, path)


def as_yaml(path: Path, entry: dict[str, Any]) -> str:
    """The lines for params.yaml: a dataset called after the folder, and how it is made the source."""
    name = re.sub(r"[^a-z0-9_]+", "_", path.name.partition(".")[0].lower()).strip("_") or "mine"
    return f"{in_one_line({'source': name})}\ndatasets:\n  {in_one_line({name: entry})}"


@contextmanager
def _open(path: Path) -> Iterator[Members]:
    if not path.exists():
        raise DataError(f"{path}: found nothing there, expected a folder, zip or tar")
    with open_archives([path]) if path.is_file() else open_folder([path], None) as members:
        if all(map(no_image, members)):
            raise DataError(f"{path}: found {len(members)} files, but no image by its name")
        yield members


def _copy(members: Members, path: Path) -> Guess | None:
    """A published dataset's copy in that dataset's own layout."""
    for name in COPIED:
        copy = recognised(members, name)
        if copy is None:
            continue

        root, items = copy
        split: Any = "official" if {"train", "test"} <= set(splits_of(items)) else FRACTIONS
        says = f"a copy of {COPIED[name]}, below {root or 'its top'}: {_count(items)}"
        official = sum(SOURCES[name].official_images.values())
        if len(items) != official:
            says += f", of {official}; choose what is there by images_per_class or a list"
        return Guess(says, {"source": name, "path": str(path), "image_size": SIZE, "split": split})
    return None


def _table(members: Members, path: Path) -> Guess | None:
    """A csv of files and labels; the first whose rows name images.

    Of images that lie in several folders, a csv of groups that does not tell its column of classes is not taken, and of
    a column that is not called as classes are it is said that folders may be meant.
    """
    tables = [name for name in members if name.lower().endswith((".csv", ".tsv"))]
    without_classes = ""
    for file in tables:
        folder, _, name = file.rpartition("/")
        inside = below(members, folder, file)
        table = columns.read(bytes(members[file].read()))
        files = columns.of_files(table, Places(inside))
        if files is None:
            continue

        del table[files]
        if split := columns.of_splits(table):
            del table[split]
        called = columns.called_labels(table)
        group = columns.of_groups({column: cells for column, cells in table.items() if column != called})
        others = {column: cells for column, cells in table.items() if column != group}
        label: str | list[str] | None = called or columns.one_hot(others)
        in_folders = label is None and _in_class_folders(inside)
        if in_folders and group:
            without_classes = without_classes or name
            continue

        label = label or columns.of_fewest(others)
        if label is None and group:  # as `scene` may be: without another column of classes, it is theirs
            label, group = columns.of_fewest(table), None
        if label is None:
            continue

        named: dict[str, Any] = {"file": files, "label": label}
        entry: dict[str, Any] = {"labels": name, "columns": named}
        if split:
            named["split"] = split
        if group:
            entry["group"] = group
        says = f"images with the table {file}"
        if in_folders:
            says += f", whose column {label} may be classes (else leave out `labels` and `columns`: its folders are)"
        return _own(members, path, says, entry, "official" if split else FRACTIONS)

    if not without_classes:
        return None
    by_folders = _folders(members, path)
    unused = f"{without_classes} is not used: to split by its groups, give it a column `label` of the classes"
    return replace(by_folders, says=f"{by_folders.says}; {unused}")


def _in_class_folders(members: Members) -> bool:
    """Whether images lie in two folders or more that are no splits."""
    folders = set(map(basename, map(dirname, filterfalse(no_image, members))))
    return len([folder for folder in folders if folder and folder.lower() not in SPLIT_NAMES]) > 1


def _folders(members: Members, path: Path) -> Guess:
    """Folders of classes: with train/ and others above them, nested, or plain."""
    for split in ("official", FRACTIONS):
        official = split == "official"
        probe = Dataset.model_validate(_entry(path, {"label": "path"}, split))
        root, inside = without_root(members, probe)
        images = list(filterfalse(no_image, inside))

        tops = {name.partition("/")[0].lower() for name in images}
        splits = set(map(SPLIT_NAMES.get, tops))
        if official and (None in splits or "train" not in splits):
            continue

        depths = {name.count("/") - official for name in images}
        if depths <= {0}:
            break

        nested = depths - {0} != {1}  # an image beside the classes' folders has no class
        says = ("own splits, " if official else "") + ("nested folders" if nested else "a folder a class")
        extra: dict[str, Any] = {}
        if nested:
            says += " (label: parent, top or path chooses which are the classes)"
            parents = set(map(basename, map(dirname, images))) - {""}
            extra["label"] = "parent" if len(parents) > 1 else "top"
        if official and "test" not in splits:
            extra["draw"] = {"test": 0.2, "val": 0.0}
        elif official and "val" not in splits:
            extra["draw"] = {"test": 0.0, "val": 0.1}

        place = path / root.rstrip("/") if path.is_dir() and not nested and root else path
        return _own(members, place, says, extra, split)
    raise DataError(f"{path}: found images in no folder of a class and no csv that names them; docs/own-images.md")


def _own(members: Members, path: Path, says: str, extra: dict[str, Any], split: Any) -> Guess:
    entry = _entry(path, extra, split)
    dataset = Dataset.model_validate(entry)
    _, inside = without_root(members, dataset)
    items = own_images(inside, dataset)

    files = set(files_of(items))
    others = [name for name in inside if name not in files and why_not(name, dataset)]
    says += f": {_count(items)}" + (f"; {len(others)} other files" if others else "")
    if copied := copy_of(items):
        says += f"; as many as {COPIED[copied]} has"
    return Guess(says, entry)


def _entry(path: Path, extra: dict[str, Any], split: Any) -> dict[str, Any]:
    return {"source": "folder", "path": str(path), "image_size": SIZE, "split": split, **extra}


def _count(items: Sequence[Item]) -> str:
    return f"{len(items)} images of {len(set(labels_of(items)))} classes"
