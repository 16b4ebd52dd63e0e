"""Layouts of a user's own images: nested classes, own train, val and test, or a csv of files and labels. Pure.

Packing and `seal data` take an own dataset's images from `own_images`; a folder a class is `layouts.class_folders`.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from posixpath import basename, dirname, splitext
from typing import NoReturn

from seal.data.archives import DataError, Member, Members, climbs_out
from seal.data.layouts import NOT_OF_A_CLASS, Item, no_image
from seal.errors import short
from seal.sections import Dataset

# What people call the three.
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
DELIMITERS = ",;\t"
ONES, ZEROS = {"1", "1.0"}, {"0", "0.0"}


def own_images(members: Members, dataset: Dataset) -> list[Item]:
    """The images of these files, as the dataset's `label`, `labels` and split say. Raises DataError for a folder or csv
    that says something else."""
    if dataset.labels is not None:
        return _labelled(members, dataset, dataset.labels)
    items = [_in_folders(name, dataset) for name in members if not no_image(name)]
    placed = [item for item in items if item is not None]
    if dataset.split == "official":
        _splits_are_there({item.split for item in placed}, dataset)
    return placed


def why_not(name: str, dataset: Dataset) -> str:
    """Why a file is no image of own_images; empty where by its name it is one, or stands in the csv."""
    if dataset.labels is not None:
        return no_image(name) or f"not in {dataset.labels}"
    return no_image(name) or ("" if _in_folders(name, dataset) else NOT_OF_A_CLASS)


def without_root(members: Members, dataset: Dataset) -> tuple[str, Members]:
    """The folder that holds all of a user's images, such as an archive's own ("" for none), and the files below it."""
    root = _root_of_labels(members, dataset.labels) if dataset.labels else _root_of_folders(members, dataset)
    return root, {name[len(root) :]: member for name, member in members.items() if name.startswith(root)}


def _root_of_labels(members: Members, labels: str) -> str:
    tables = [name for name in members if f"/{name}".endswith(f"/{labels}")]
    return tables[0].removesuffix(labels) if len(tables) == 1 else ""


def _root_of_folders(members: Members, dataset: Dataset) -> str:
    """As deep as every image is still in a folder below it, and no deeper than its train/."""
    images = [name for name in members if not no_image(name)]
    root = ""
    while images:
        top = images[0][len(root) :].partition("/")[0]
        inner = f"{root}{top}/"
        splits = dataset.split == "official" and top.lower() in SPLIT_NAMES
        if splits or not all(name.startswith(inner) and "/" in name[len(inner) :] for name in images):
            break
        root = inner
    return root


def _in_folders(name: str, dataset: Dataset) -> Item | None:
    """The image of a file by the folders that it lies in; None where they are none of a class."""
    split, rest = "", name
    if dataset.split == "official":
        top, _, rest = name.partition("/")
        split = SPLIT_NAMES.get(top.lower(), "")
        if not split:
            return None

    folders = dirname(rest).split("/")
    if folders == [""] or (dataset.label is None and len(folders) > 1):
        return None
    labels = {None: folders[0], "top": folders[0], "parent": folders[-1], "path": "/".join(folders)}
    return Item(name, labels[dataset.label], split)


def _splits_are_there(splits: set[str], dataset: Dataset) -> None:
    if "train" not in splits or len(splits) < 2:
        names = ", ".join(sorted(splits)) or "none"
        raise DataError(
            f"split official: found images in {names} of train/, val/ and test/, expected train/ and another; give "
            "fractions, as split: {test: 0.2, val: 0.1}, where there are no such folders"
        )


def _labelled(members: Members, dataset: Dataset, file: str) -> list[Item]:
    """The rows of the csv as images. Raises DataError for all that is wrong with it, at once."""
    rows = _rows(members, file, dataset)
    place = Places(members)
    items: dict[str, Item] = {}
    problems: dict[str, list[str]] = {}

    for row in rows:
        named = row[dataset.columns.file].strip()
        path = place.of(named)
        label = _label(row, dataset)
        split = SPLIT_NAMES.get(row[dataset.columns.split].strip().lower(), "") if dataset.columns.split else ""

        before = items.get(path)
        wrong = {
            "have a path that climbs out of the folder": climbs_out(named),
            "have a name that several files bear": path == AMBIGUOUS,
            "are not there": path == "",
            "have not one label": label == "",
            f"have no split that is one of {', '.join(SPLIT_NAMES)}": bool(dataset.columns.split) and not split,
            "have two labels": before is not None and before.label != label,
            "stand in two rows": before is not None and before.label == label,
        }
        if problem := next((words for words, is_so in wrong.items() if is_so), ""):
            problems.setdefault(problem, []).append(named)
            continue
        items[path] = Item(path, label, split, row[dataset.group].strip() if dataset.group else "")

    if problems:
        _refuse(file, problems)
    return list(items.values())


AMBIGUOUS = "/"  # no file's name


class Places:
    """Where a csv's files lie: by their path, with or without suffix; or by as much of its end as both the row and the
    file have, where that is one file's."""

    def __init__(self, members: Iterable[str]) -> None:
        self.of_stem: dict[str, list[str]] = {}
        for member in members:
            if not no_image(member):
                self.of_stem.setdefault(splitext(basename(member))[0], []).append(member)

    def of(self, name: str) -> str:
        """The file, "" where there is none, AMBIGUOUS where there are several."""
        plain = name.removeprefix("./").replace("\\", "/")
        stem = basename(plain)
        there = [file for key in {stem, splitext(stem)[0]} for file in self.of_stem.get(key, ())]
        exact = [file for file in there if plain in (file, splitext(file)[0])]
        fitting = exact or [file for file in there if _ends_alike(file, plain)]
        return fitting[0] if len(fitting) == 1 else AMBIGUOUS if fitting else ""


def _ends_alike(file: str, named: str) -> bool:
    """Whether they have one name, the suffix aside where `named` has none, and the same folders as far as both say."""
    if basename(named) not in (basename(file), splitext(basename(file))[0]):
        return False
    pairs = zip(reversed(dirname(file).split("/")), reversed(dirname(named).split("/")), strict=False)
    return all(of_file == of_row for of_file, of_row in pairs if of_file and of_row)


def _label(row: Mapping[str, str], dataset: Dataset) -> str:
    """The row's class; "" where it has none, or one-hot columns have not one 1."""
    columns = dataset.columns.label
    if isinstance(columns, str):
        return row[columns].strip()

    values = {column: row[column].strip() for column in columns}
    ones = [column for column, value in values.items() if value in ONES]
    return ones[0] if len(ones) == 1 and set(values.values()) <= ONES | ZEROS else ""


def _refuse(file: str, problems: Mapping[str, Sequence[str]]) -> NoReturn:
    lines = []
    for problem, names in problems.items():
        lines.append(f"{len(names)} rows {problem} ({', '.join(short(name) for name in names[:3])})")
    raise DataError(f"{file}: {'; '.join(lines)}; correct the csv, then run again")


def _rows(members: Members, file: str, dataset: Dataset) -> list[dict[str, str]]:
    """The csv's rows, which may be parted by any of DELIMITERS, with quoted line breaks in their cells."""
    if file not in members:
        tables = [name for name in members if name.lower().endswith((".csv", ".tsv", ".txt"))]
        raise DataError(f"labels: found no {file}, expected one of {', '.join(tables[:5]) or 'the files there'}")

    text = _text(members[file], file)
    header = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=header.count)
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows, found = list(table), table.fieldnames or []
    except csv.Error as error:
        raise DataError(f"{file}: line {table.line_num}: {error}; correct the csv, then run again") from None

    if doubled := [column for column, count in Counter(found).items() if count > 1]:
        raise DataError(f"{file}: found column {short(doubled[0])} more than once, expected a name for each column")
    label = dataset.columns.label
    wanted = [dataset.columns.file, *([label] if isinstance(label, str) else label)]
    wanted += [column for column in (dataset.columns.split, dataset.group) if column]
    if lacking := [column for column in wanted if column not in found]:
        raise DataError(
            f"{file}: found columns {short(', '.join(found))}, expected {', '.join(lacking)} too; name them in "
            "`columns` and `group`"
        )
    for row in rows:
        if None in row or None in row.values():
            raise DataError(f"{file}: {short(str(list(row.values())))}: found not one cell for each column")
    return rows


def _text(member: Member, file: str) -> str:
    content = bytes(member.read())
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 ({error.reason}, byte {error.start}); save it as UTF-8") from None
