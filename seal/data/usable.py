"""Images that cannot be used: bad files, and one content more than once. All of them are listed, then one line says so.

Packing asks before it writes; what a dataset's `bad_images` and `duplicates` allow is left out, and told.
"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seal.data.archives import DataError
from seal.data.layouts import Item
from seal.data.selection import Selection
from seal.record import atomic
from seal.sections import Dataset

KEPT_FIRST = ("test", "val", "train")  # of one content in several splits, the copy in the first of them stays


@dataclass(frozen=True)
class Sound:
    """A selection without what is left out of it, and that with its reasons."""

    selection: Selection
    bad: dict[str, str]  # file to reason
    doubled: dict[str, str]

    def counts(self, before: Selection) -> dict[str, dict[str, int]]:
        """How many images of each class are left out, for the provenance; empty where none is."""
        labels = {item.file: item.label for item in _ordered(before)}
        counts = {}
        for kind, files in {"bad": self.bad, "doubled": self.doubled}.items():
            if files:
                of_class = Counter(map(labels.__getitem__, files))
                counts[kind] = dict(sorted(of_class.items()))
        return counts


def sound(
    selection: Selection, files: Sequence[str], digests: NDArray[np.uint8], bad: Mapping[int, str], dataset: Dataset,
    left_out: Path, others: Iterable[tuple[str, str]],
) -> Sound:  # fmt: skip
    """The selection as it may be packed. `digests` [N, bytes] and `bad` are of `files`; `others` are files that are no
    images of it, with reasons.

    All that is left out is listed in `left_out`. Raises DataError, after that, for what the dataset does not allow.
    """
    reasons = {files[position]: reason for position, reason in sorted(bad.items())}
    order = _ordered(selection)
    doubles = _doubles(order, files, digests) if dataset.source == "folder" or dataset.duplicates == "drop" else []

    refusals = _refusals(list(reasons.values()), doubles, dataset)
    dropped = {}
    if dataset.duplicates == "drop" or refusals:
        dropped = {double.file: f"the same content as {kept.file}" for kept, double in doubles}
    _tell(doubles, dataset)

    gone = dropped | reasons
    told = [(name, "", reason) for name, reason in others]
    for item in order:
        if item.file in gone:
            told.append((item.file, item.label, gone[item.file]))
    count = _write(left_out, told)
    if refusals:
        raise DataError(f"{'; '.join(refusals)}; {count} files are listed with reasons in {left_out}")

    splits = {}
    for split, items in selection.splits.items():
        splits[split] = [item for item in items if item.file not in gone]
    doubled = {file: reason for file, reason in dropped.items() if file not in reasons}
    return Sound(Selection(selection.classes, splits), reasons, doubled)


def _refusals(reasons: Sequence[str], doubles: Sequence[tuple[Item, Item]], dataset: Dataset) -> list[str]:
    """What the dataset does not allow: bad images, for these reasons, or one content in train and test."""
    refusals = []
    if reasons and dataset.bad_images == "error":
        more = f"; and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        refusals.append(f"{reasons[0]}{more}; mend or take out what is bad, or set bad_images: skip")

    crossing = [(kept, double) for kept, double in doubles if {kept.split, double.split} == {"train", "test"}]
    if crossing and dataset.duplicates == "error":
        kept, double = crossing[0]
        refusals.append(
            f"{len(crossing)} images have the same content in train and test, the first {double.file} and {kept.file}; "
            "take one of each out, or set duplicates: drop or keep"
        )
    return refusals


def _ordered(selection: Selection) -> list[Item]:
    """Every image, those that stay before their copies."""
    ordered: list[Item] = []
    for split in KEPT_FIRST:
        ordered += selection.splits[split]
    return ordered


def _doubles(order: Sequence[Item], files: Sequence[str], digests: NDArray[np.uint8]) -> list[tuple[Item, Item]]:
    """Pairs of an image and a later one of the same content, by digests; bad files have none."""
    row = {file: position for position, file in enumerate(files)}
    rows = [row[item.file] for item in order]
    of_image = digests[rows].view("<u8")
    sorted_ = np.lexsort((*of_image.T[::-1],))  # stable: of equal ones the earlier comes first

    alike = (of_image[sorted_[1:]] == of_image[sorted_[:-1]]).all(1) & of_image[sorted_[1:]].any(1)
    pairs, first = [], 0
    for place in np.flatnonzero(alike):
        if place == 0 or not alike[place - 1]:
            first = int(sorted_[place])
        pairs.append((order[first], order[int(sorted_[place + 1])]))
    return sorted(pairs, key=lambda pair: pair[1].file)


def _tell(doubles: Sequence[tuple[Item, Item]], dataset: Dataset) -> None:
    if not doubles:
        return

    across = sum(kept.split != double.split for kept, double in doubles)
    classes = sum(kept.label != double.label for kept, double in doubles)
    facts = f"{len(doubles)} images repeat another's content, {across} of them across splits, {classes} across classes"
    print(f"{facts} (duplicates: {dataset.duplicates})", file=sys.stderr)


def _write(path: Path, rows: Iterable[tuple[str, str, str]]) -> int:
    """The list of what is left out, as csv; no file where there is nothing. How many rows it has."""
    rows = sorted(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return 0

    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        atomic(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "class", "reason"))
        writer.writerows(rows)
    return len(rows)
