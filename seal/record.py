"""The record of a run: files that are a function of code, parameters and data alone. Timings are apart, in timings.py.

How such files are named, written and read, whole or not at all. Who writes or reads a record imports this.
"""

import csv
import hashlib
import io
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from seal.errors import UserError
from seal.files import atomic as atomic

# Numbers of the record that differ by less are one number, summed in another order: accuracies are multiples of 1/N and
# written to six digits, and a sum of them in points is rounded at 1e-14.
ROUNDING = 1e-9

RESULTS = Path("results")
TIMINGS = Path("timings")
OWN = Path("evaluated")  # of networks from elsewhere, a folder each, with what OWN_FACTS says of it
OWN_FACTS = "network.json"
SKIPPED = "skipped.json"  # in the place of an evaluation's files, with the reason why there are none
SHEETS = Path("data/sheets")  # NAME.png of a dataset, by `seal data NAME`; no output of a stage
EXPECTED = Path("expected")  # committed results, a folder a tier
Tier = Literal["smoke", "mini", "regime", "paper"]  # whose parameters a record was made by


def scratch_root() -> Path:
    """Where unfinished work lies; SEAL_SCRATCH moves it."""
    return Path(os.environ.get("SEAL_SCRATCH", "scratch"))


# history.csv: one row an epoch. Empty cells: not measured in that epoch.
KEY_COLUMNS = ("generation", "epoch", "global_epoch", "phase")
METRIC_COLUMNS = (
    "lr_early",
    "lr_late",
    "sign_early",  # -1 while that side climbs the loss, 1 while it descends, 0 while it is not stepped
    "sign_late",
    "train_loss",  # running, over the epoch's augmented batches
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    # L2 norm over the side's parameters; in a generation 1 that is shared, of the sides by the base's layer_threshold.
    "norm_early",
    "norm_late",
    "clean_loss",  # training images without augmentation, at the ends of a phase and of a generation
    "clean_accuracy",
    "clean_loss_batch_statistics",  # the same, BatchNorm by the statistics of each batch
    "clean_accuracy_batch_statistics",
)
HISTORY_COLUMNS = KEY_COLUMNS + METRIC_COLUMNS
Row = dict[str, Any]

SUMMARY_SCHEMA = 1


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows under a header, with `\\n` ends on every system; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")


def read_history(path: Path) -> list[Row]:
    """The rows of a history.csv: integers, floats, the phase's name, None where nothing was measured."""
    rows: list[Row] = []
    remedy = "`dvc checkout` or `dvc repro` restores it"
    for cells in read_table(path, KEY_COLUMNS, remedy):
        try:
            rows.append(_row(cells))
        except (TypeError, ValueError) as error:
            raise UserError(f"{path}: row {len(rows) + 1}: {error}; {remedy}") from None
    return rows


def read_table(path: Path, columns: Sequence[str], remedy: str) -> list[dict[str, str]]:
    """The rows of a csv file. Raises UserError where it is none, or lacks one of these columns or a cell of a row."""
    header, rows = header_and_rows(path, remedy)
    if lacking := [column for column in columns if column not in header]:
        raise UserError(f"{path}: found no column {', '.join(lacking)}; {remedy}")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise UserError(f"{path}: row {number}: found not one cell for each column; {remedy}")
    return rows


def header_and_rows(path: Path, remedy: str) -> tuple[list[str], list[dict[Any, Any]]]:
    """Of a csv file as it is. A row's cells beyond the header's are a list at None, and those that it lacks are None.

    Raises UserError for what is no table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            rows = list(table)
            return [*(table.fieldnames or ())], rows
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no table: {error}; {remedy}") from None


def _row(cells: Mapping[str, str]) -> Row:
    return {column: _value(column, text) for column, text in cells.items()}


def _value(column: str, text: str) -> Any:
    if column == "phase":
        return text
    if text == "":
        return None
    return int(text) if column in KEY_COLUMNS or column.startswith("sign_") else float(text)


def rounded(value: Any) -> Any:
    """Floats to seven significant digits; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {key: rounded(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(member) for member in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def write_json(path: Path, value: Any) -> None:
    """Sorted keys and a final newline, so that equal records are equal files."""
    with atomic(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8", newline=""
        )


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"), parse_int=_integer)


def _integer(digits: str) -> int | float:
    """JSON's integers have as many digits as they like; one beyond every float is infinite, as 1e400 is to Python."""
    return int(digits) if len(digits) <= sys.float_info.max_10_exp else float(digits)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_digest(folder: Path) -> str:
    """A hash over what tables and curves are drawn from: history, summary and evaluations of a run's folder."""
    files = [folder / "history.csv", folder / "summary.json", *sorted((folder / "eval").glob("[!.]*/[!.]*.json"))]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}:{file_sha256(path)}\n".encode())
    return digest.hexdigest()
