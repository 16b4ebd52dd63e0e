"""Which column of a csv names images, which their classes, splits and groups, by what stands in it: for `guess`."""

import csv
import io
import re
from collections.abc import Mapping, Sequence

from seal.data.labelled import DELIMITERS, ONES, ZEROS, Places
from seal.data.layouts import SPLIT_NAMES

LABELS = ("label", "class", "category", "target", "dx", "diagnosis", "species", "y")  # as such a column is called
GROUPS = ("group", "patient", "subject", "person", "case", "slide", "lesion", "scene")  # what holds others first
ENOUGH = 0.9  # of the rows that name an image

Table = Mapping[str, Sequence[str]]  # a column's name to its cells, one for each row


def read(content: bytes) -> dict[str, list[str]]:
    """The whole rows of a csv, by column; none where it is no text."""
    try:
        text = content.decode("utf-8-sig")
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error):
        return {}

    table: dict[str, list[str]] = {}
    for row in rows:
        if None in row or None in row.values():
            continue
        for column, cell in row.items():
            table.setdefault(column, []).append(cell)
    return table


def of_files(table: Table, places: Places) -> str | None:
    """The column that names most images, where ENOUGH of its cells do."""
    named = {column: sum(map(bool, map(places.of, cells))) for column, cells in table.items()}
    most = max(named, key=named.__getitem__, default=None)
    return most if most is not None and named[most] >= ENOUGH * len(table[most]) else None


def of_splits(table: Table) -> str | None:
    """The column each cell of which is what people call a split."""
    for column, cells in table.items():
        if set(map(str.lower, cells)) <= SPLIT_NAMES.keys():
            return column
    return None


def of_groups(table: Table) -> str | None:
    """The column that is called as groups are, or so with an id, as `PatientID`; else one that begins so."""
    for group in GROUPS:
        for column in table:
            if re.sub(r"[\W_]", "", column.lower()) in (group, f"{group}id"):
                return column
    return next((column for column in table if column.lower().startswith(GROUPS)), None)


def called_labels(table: Table) -> str | None:
    """The column that is called as classes are."""
    return next((column for column in table if column.lower() in LABELS), None)


def one_hot(table: Table) -> list[str] | None:
    """The columns of zeros, with a 1 in one of them in each row."""
    flags = {column: cells for column, cells in table.items() if set(map(str.strip, cells)) <= ONES | ZEROS}
    if len(flags) > 1 and all(map(_has_one_1, zip(*flags.values(), strict=True))):
        return list(flags)
    return None


def of_fewest(table: Table) -> str | None:
    """The column of the fewest values, which may be classes where nothing else says what they are."""
    several = {}
    for column, cells in table.items():
        values = len(set(cells))
        if 1 < values <= len(cells) / 2:
            several[column] = values
    return min(several, key=several.__getitem__, default=None)


def _has_one_1(row: Sequence[str]) -> bool:
    return sum(cell.strip() in ONES for cell in row) == 1
