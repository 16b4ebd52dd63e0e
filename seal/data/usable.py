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
        labels = {item.file: item.label for items in before.splits.values() for item in items}
        kinds = {"bad": self.bad, "doubled": self.doubled}
        return {kind: dict(sorted(Counter(labels[file] for file in files).items()))
                for kind, files in kinds.items() if files}  # fmt: skip


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
    crossing = [pair for pair in doubles if {pair[0].split, pair[1].split} == {"train", "test"}]

    refused = []
    if reasons and dataset.bad_images == "error":
        refused.append(f"{_first(list(reasons.values()))}; mend or take out what is bad, or set bad_images: skip")
    if crossing and dataset.duplicates == "error":
        kept, double = crossing[0]
        refused.append(
            f"{len(crossing)} images have the same content in train and test, the first {double.file} and {kept.file}; "
            "take one of each out, or set duplicates: drop or keep"
        )

    dropped = {}
    if dataset.duplicates == "drop" or refused:
        dropped = {double.file: f"the same content as {kept.file}" for kept, double in doubles}
    _tell(doubles, dataset)
    labels = {item.file: item.label for item in order}
    told = [(file, labels[file], reason) for file, reason in {**dropped, **reasons}.items()]
    count = _write(left_out, [*told, *((name, "", reason) for name, reason in others)])
    if refused:
        raise DataError(f"{'; '.join(refused)}; {count} files are listed with reasons in {left_out}")

    gone = reasons.keys() | dropped.keys()
    splits = {split: [item for item in items if item.file not in gone] for split, items in selection.splits.items()}
    return Sound(Selection(selection.classes, splits), reasons, {k: v for k, v in dropped.items() if k not in reasons})


def _first(reasons: Sequence[str]) -> str:
    return reasons[0] + (f"; and {len(reasons) - 1} more" if len(reasons) > 1 else "")


def _ordered(selection: Selection) -> list[Item]:
    """Every image, those that stay before their copies."""
    return [item for split in KEPT_FIRST for item in selection.splits[split]]


def _doubles(order: Sequence[Item], files: Sequence[str], digests: NDArray[np.uint8]) -> list[tuple[Item, Item]]:
    """Pairs of an image and a later one of the same content, by digests; bad files have none."""
    row = {file: position for position, file in enumerate(files)}
    of_image = digests[[row[item.file] for item in order]].view("<u8")
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
