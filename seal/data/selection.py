"""Which classes and images a dataset's parameters choose, and how they are split: packing's choice, by names alone.

`seal plan` reads the same lists, and tells by `parameters_of` whether a pack holds what the parameters choose.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from seal.data.archives import DataError
from seal.data.drawing import drawn, drawn_from_train
from seal.data.layouts import Item, labels_of, splits_of
from seal.data.pack import PACKS, SPLITS, Pack, open_pack
from seal.record import file_sha256
from seal.sections import Dataset, SplitFractions

Counts = Mapping[str, int | Mapping[str, int]]  # Source.per_class


@dataclass(frozen=True)
class Selection:
    classes: tuple[str, ...]  # sorted; a label is a position here
    splits: Mapping[str, Sequence[Item]]  # for each of SPLITS, sorted by (class, file)


def select(
    items: Sequence[Item], dataset: Dataset, *,
    listed: Mapping[str, str] | None, classes: int | None, counts: Counts | None,
    totals: Mapping[str, int] | None = None,
) -> Selection:  # fmt: skip
    """Choose and split.

    `listed`: file to split, where `dataset.split` is a list. `classes`: how many the source has. `counts`: its official
    images per class, to be held against an archive whose checksum is not the official one; None for an official one.
    `totals`: the same over all classes.
    Raises DataError where classes, images or official splits that the parameters ask for are not there.
    """
    if not items:
        raise DataError(f"source {dataset.source}: found no image where its images are expected")

    if listed is not None:
        items, classes = _follow_list(items, listed, str(dataset.split)), None
    names = _choose_classes(sorted(set(labels_of(items))), dataset, classes)
    of_class = _by_class(items, names)

    if dataset.images_per_class is not None:
        of_class = {name: _first(group, name, dataset) for name, group in of_class.items()}
    elif listed is None:
        for name, group in of_class.items():
            _check_counts(f"class {name}", group, counts or {}, name)
        if dataset.classes is None:
            _check_counts("all classes", items, totals or {})

    if isinstance(dataset.split, SplitFractions):
        of_class = drawn(of_class, dataset.split)
    if dataset.draw is not None:
        of_class = drawn_from_train(of_class, dataset.draw)
    return Selection(tuple(names), _by_split(of_class.values(), dataset))


# A pack names these always, other parameters where they are not as by default; so one from before there was a choice is
# today's.
NAMED = ("image_size", "split", "classes", "images_per_class")


def parameters_of(dataset: Dataset) -> dict[str, Any]:
    """The parameters that choose and prepare a dataset's images, as a pack's provenance has them, without the
    machine's paths."""
    unnamed = {"path", "source"}
    for key, field in Dataset.model_fields.items():
        if key not in NAMED and getattr(dataset, key) == field.default:
            unnamed.add(key)

    parameters = dataset.model_dump(exclude=unnamed)
    if follows_list(dataset):
        path = Path(str(dataset.split))
        parameters["split"] = {"list": path.name, "sha256": file_sha256(path)}
    return parameters


def chosen_pack(name: str, dataset: Dataset) -> Pack:
    """The pack of a dataset, of the images that its parameters choose now.

    Raises what open_pack raises, and DataError for a pack of other parameters: another source, split, size or class.
    """
    pack = open_pack(PACKS / f"{name}.safetensors")
    packed = {"source": pack.provenance.get("source"), **(pack.provenance.get("selection") or {})}
    chosen = {"source": dataset.source, **parameters_of(dataset)}
    if packed != chosen:
        differing = [key for key in packed | chosen if packed.get(key) != chosen.get(key)]
        raise DataError(
            f"{pack.path}: packed with another {', '.join(differing)} than datasets.{name} has now; "
            f"run `dvc repro pack@{name}`"
        )
    return pack


def follows_list(dataset: Dataset) -> bool:
    """Whether `split` names a list of files."""
    return isinstance(dataset.split, str) and dataset.split != "official"


def read_list(path: Path) -> dict[str, str]:
    """A csv with columns split and file (relative to the dataset's root), as file to split. # starts a comment."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"split {path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"split {path}: found a folder, expected a csv file of split,file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"split {path}: not UTF-8 ({error.reason}); save it as UTF-8") from None

    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = list(csv.reader(lines))
    if len(rows) < 2 or rows[0] != ["split", "file"]:
        raise DataError(f"{path}: found {rows[:2]}, expected the header split,file and then files")

    listed: dict[str, str] = {}
    for row in rows[1:]:
        if len(row) != 2 or row[0] not in SPLITS:
            raise DataError(f"{path}: found {','.join(row)!r}, expected SPLIT,FILE with one of {', '.join(SPLITS)}")
        split, file = row
        if file in listed:
            raise DataError(f"{path}: {file} is listed twice")
        listed[file] = split
    return listed


def _follow_list(items: Sequence[Item], listed: Mapping[str, str], name: str) -> list[Item]:
    by_file = {item.file: item for item in items}
    lacking = [file for file in listed if file not in by_file]
    if lacking:
        count = f"{len(lacking)} of {len(listed)} listed files"
        raise DataError(f"{name}: the archive lacks {count}: {', '.join(lacking[:3])}")
    return [replace(by_file[file], split=split) for file, split in listed.items()]


def _choose_classes(names: Sequence[str], dataset: Dataset, official: int | None) -> list[str]:
    """The classes that are asked for, or the first so many by name, or all, which must be as many as is official."""
    if isinstance(dataset.classes, list):
        if lacking := sorted(set(dataset.classes) - set(names)):
            classes = f"{len(names)} classes from {names[0]} to {names[-1]}"
            raise DataError(f"classes: found {classes}, but no image of {', '.join(lacking[:3])}")
        return sorted(set(dataset.classes))

    expected = official if dataset.classes is None else dataset.classes
    if expected is None:
        return list(names)

    too_many = dataset.classes is None and len(names) > expected
    if too_many or len(names) < expected:
        raise DataError(f"classes: found images of {len(names)}, expected {expected}")
    return list(names[:expected])


def _by_class(items: Sequence[Item], names: Sequence[str]) -> dict[str, list[Item]]:
    """The images of each of these classes, in natural order."""
    of_class: dict[str, list[Item]] = {name: [] for name in names}
    for item in sorted(items, key=_natural):
        if item.label in of_class:
            of_class[item.label].append(item)
    return of_class


def _natural(item: Item) -> tuple[list[str | int], str]:
    """By the numbers in a name, so that 10 follows 9. re.split alternates text and number."""
    parts: list[str | int] = [*re.split(r"(\d+)", item.file)]
    parts[1::2] = map(int, parts[1::2])
    return parts, item.file


def _first(group: Sequence[Item], name: str, dataset: Dataset) -> list[Item]:
    if not isinstance(dataset.split, SplitFractions):
        raise DataError(f"images_per_class goes with split fractions, found split {dataset.split}")

    assert dataset.images_per_class is not None
    if len(group) < dataset.images_per_class:
        raise DataError(f"images_per_class: class {name} has {len(group)} images, expected {dataset.images_per_class}")
    return list(group[: dataset.images_per_class])


def _check_counts(whose: str, group: Sequence[Item], counts: Counts, name: str = "") -> None:
    """Raises DataError where a class, or all of them, has not the official number of images of a split."""
    of_split = Counter(splits_of(group))
    for split, official in counts.items():
        expected = official if isinstance(official, int) else official.get(name)
        count = of_split[split]
        if expected is not None and count != expected:
            images = f"{split} images" if split else "images"
            raise DataError(
                f"{whose}: found {count} {images}, expected {expected}; this archive is not the official one: take "
                "that, or choose what it has by a list or images_per_class"
            )


def _by_split(groups: Iterable[Sequence[Item]], dataset: Dataset) -> dict[str, list[Item]]:
    """Each of SPLITS, sorted by class and file. Raises DataError for an image of none of them."""
    items = list(chain.from_iterable(groups))
    unknown = set(splits_of(items)) - set(SPLITS)
    if unknown:
        expected = "fractions or a list" if unknown == {""} else f"one of {', '.join(SPLITS)}"
        raise DataError(f"split {dataset.split}: source {dataset.source} has no official split; expected {expected}")

    of_split: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for item in sorted(items, key=lambda item: (item.label, item.file)):
        of_split[item.split].append(item)
    return of_split
