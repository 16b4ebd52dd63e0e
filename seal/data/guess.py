"""`seal data --guess PATH`: which layout a folder or archive of images has, and its entry for params.yaml."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seal.data.archives import DataError, Members, open_archives
from seal.data.folders import open_folder
from seal.data.layouts import Item, no_image
from seal.data.own import DELIMITERS, ONES, SPLIT_NAMES, ZEROS, Places, own_images, why_not, without_root
from seal.data.recognise import COPIED, copy_of, recognised
from seal.data.sources import SOURCES
from seal.sections import Dataset

LABELS = ("label", "class", "category", "target", "dx", "diagnosis", "species", "y")  # as such a column is called
GROUPS = ("group", "patient", "lesion", "scene", "subject", "person")
FRACTIONS = {"test": 0.2, "val": 0.1}
SIZE = 64
ENOUGH = 0.9  # of a csv's rows that name an image


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
    flow = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10**6).strip()
    return f"source: {name}\ndatasets:\n  {name}: {flow}"


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
        if (copy := recognised(members, name)) is not None:
            root, items = copy
            split: Any = "official" if {item.split for item in items} >= {"train", "test"} else FRACTIONS
            says = f"a copy of {COPIED[name]}, below {root or 'its top'}: {_count(items)}"
            if len(items) != (official := sum(SOURCES[name].official_images.values())):
                says += f", of {official}; choose what is there by images_per_class or a list"
            return Guess(says, {"source": name, "path": str(path), "image_size": SIZE, "split": split})
    return None


def _table(members: Members, path: Path) -> Guess | None:
    """A csv of files and labels; the first whose rows name images."""
    for file in (name for name in members if name.lower().endswith((".csv", ".tsv"))):
        root = file.rpartition("/")[0]
        inside = {name.removeprefix(f"{root}/"): member for name, member in members.items()
                  if not root or name.startswith(f"{root}/")}  # fmt: skip
        rows = _read(bytes(members[file].read()))
        places = Places(inside)
        named = {column: sum(bool(places.of(row[column] or "")) for row in rows) for column in rows[0]} if rows else {}
        column = max(named, key=named.__getitem__, default=None)
        if column is None or named[column] < ENOUGH * len(rows):
            continue

        others = [name for name in rows[0] if name != column]
        split = next((name for name in others if {row[name].lower() for row in rows} <= SPLIT_NAMES.keys()), None)
        label = _label([name for name in others if name != split], rows)
        if label is None:
            continue
        group = next((name for name in others if name.lower().startswith(GROUPS)), None)
        columns = {"file": column, "label": label, **({"split": split} if split else {})}
        entry = {"labels": file.rpartition("/")[2], "columns": columns, **({"group": group} if group else {})}
        return _own(members, path, f"images with the table {file}", entry, "official" if split else FRACTIONS)
    return None


def _read(content: bytes) -> list[dict[str, str]]:
    """The whole rows of a table; none where it is no text."""
    try:
        text = content.decode("utf-8-sig")
        table = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=text.partition("\n")[0].count)
        )
        return [row for row in table if None not in row and None not in row.values()]
    except (UnicodeDecodeError, csv.Error):
        return []


def _label(columns: Sequence[str], rows: Sequence[dict[str, str]]) -> str | list[str] | None:
    """The column of classes: one called so, or one-hot columns, or that of the fewest values."""
    if named := [column for column in columns if column.lower() in LABELS]:
        return named[0]

    flags = [column for column in columns if {row[column].strip() for row in rows} <= ONES | ZEROS]
    if len(flags) > 1 and all(sum(row[column].strip() in ONES for column in flags) == 1 for row in rows):
        return flags
    values = {column: len({row[column] for row in rows}) for column in columns}
    several = [column for column in columns if 1 < values[column] <= len(rows) / 2]
    return min(several, key=values.__getitem__, default=None)


def _folders(members: Members, path: Path) -> Guess:
    """Folders of classes: with train/ and others above them, nested, or plain."""
    for split in ("official", FRACTIONS):
        fractions = None if split == "official" else split
        probe = Dataset.model_validate(_entry(path, {"label": "path"}, split))
        root, inside = without_root(members, probe)
        tops = {name.partition("/")[0].lower() for name in inside if not no_image(name)}
        if fractions is None and not (tops <= SPLIT_NAMES.keys() and "train" in {SPLIT_NAMES[top] for top in tops}):
            continue

        images = [name for name in inside if not no_image(name)]
        above = 1 if fractions is None else 0
        depths = Counter(name.count("/") - above for name in images)
        if depths.keys() <= {0}:
            break
        nested = depths.keys() > {1} or (1 not in depths)
        says = ("own splits, " if fractions is None else "") + ("nested folders" if nested else "a folder a class")
        says += " (label: parent, top or path chooses which are the classes)" if nested else ""
        labels = {name.split("/")[-2] for name in images}
        extra: dict[str, Any] = {"label": "parent" if len(labels) > 1 else "top"} if nested else {}
        if fractions is None and "val" not in {SPLIT_NAMES[top] for top in tops}:
            extra["draw"] = {"test": 0.0, "val": 0.1}
        if fractions is None and "test" not in {SPLIT_NAMES[top] for top in tops}:
            extra["draw"] = {"test": 0.2, "val": 0.0}
        place = path / root.rstrip("/") if path.is_dir() and not nested and root else path
        return _own(members, place, says, extra, split)
    raise DataError(f"{path}: found images in no folder of a class and no csv that names them; docs/own-images.md")


def _own(members: Members, path: Path, says: str, extra: dict[str, Any], split: Any) -> Guess:
    entry = _entry(path, extra, split)
    dataset = Dataset.model_validate(entry)
    _, inside = without_root(members, dataset)
    items = own_images(inside, dataset)
    left = sum(bool(why_not(name, dataset)) for name in inside if name not in {item.file for item in items})
    copied = copy_of(items)
    says += f": {_count(items)}" + (f"; {left} other files" if left else "")
    return Guess(says + (f"; as many as {COPIED[copied]} has" if copied else ""), entry)


def _entry(path: Path, extra: dict[str, Any], split: Any) -> dict[str, Any]:
    return {"source": "folder", "path": str(path), "image_size": SIZE, "split": split, **extra}


def _count(items: Sequence[Item]) -> str:
    return f"{len(items)} images of {len({item.label for item in items})} classes"
