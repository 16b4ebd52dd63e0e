"""A csv of files and labels, as users write it: its rows as images, and where the files lie that it names. Pure.

`own` takes a dataset's images from it where the dataset has `labels`; `columns` guesses which columns it has.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from posixpath import basename, dirname, splitext
from typing import NoReturn

from seal.data.archives import DataError, Member, Members, climbs_out
from seal.data.layouts import SPLIT_NAMES, Item, no_image
from seal.errors import short
from seal.sections import Dataset

DELIMITERS = ",;\t"
ONES, ZEROS = {"1", "1.0"}, {"0", "0.0"}
AMBIGUOUS = "/"  # no file's name


def labelled_images(members: Members, dataset: Dataset, file: str) -> list[Item]:
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
        candidates: list[str] = []
        for key in {stem, splitext(stem)[0]}:
            candidates += self.of_stem.get(key, ())

        exact = [file for file in candidates if plain in (file, splitext(file)[0])]
        fitting = exact or [file for file in candidates if _ends_alike(file, plain)]
        if len(fitting) > 1:
            return AMBIGUOUS
        return fitting[0] if fitting else ""


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

    ones = []
    for column in columns:
        value = row[column].strip()
        if value in ONES:
            ones.append(column)
        elif value not in ZEROS:
            return ""
    return ones[0] if len(ones) == 1 else ""


def _refuse(file: str, problems: Mapping[str, Sequence[str]]) -> NoReturn:
    lines = []
    for problem, names in problems.items():
        examples = ", ".join(map(short, names[:3]))
        lines.append(f"{len(names)} rows {problem} ({examples})")
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
        rows, columns = list(table), table.fieldnames or []
    except csv.Error as error:
        raise DataError(f"{file}: line {table.line_num}: {error}; correct the csv, then run again") from None

    if doubled := list(Counter(columns) - Counter(set(columns))):
        raise DataError(f"{file}: found column {short(doubled[0])} more than once, expected a name for each column")

    label = dataset.columns.label
    wanted = [dataset.columns.file, *([label] if isinstance(label, str) else label)]
    wanted += filter(None, (dataset.columns.split, dataset.group))
    if lacking := [column for column in wanted if column not in columns]:
        raise DataError(
            f"{file}: found columns {short(', '.join(columns))}, expected {', '.join(lacking)} too; name them in "
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
