"""Layouts whose classes and splits stand in lists: .mat, .txt and .csv files of the archives. Pure.

The targets' sources name them.
"""

import csv
from collections.abc import Iterable
from io import BytesIO
from posixpath import basename
from typing import Any

import numpy as np

from seal.data.archives import DataError, Members
from seal.data.layouts import Item, files_of, labels_of, listed_once, same_classes, text

# The benchmark's seven of ChestX-ray8's eight findings: all but Pneumonia (Guo et al. 2020, Chest_few_shot.py).
CHESTX_FINDINGS = {
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax",
}  # fmt: skip


def flowers_102(members: Members) -> list[Item]:
    """jpg/image_NUMBER.jpg; the numbers of each split in setid.mat, each number's class in imagelabels.mat.

    Classes are called 001 to 102: the archive has no names.
    """
    labels = _integers(members, "imagelabels.mat", "labels")
    items = []
    for split, key in {"train": "trnid", "val": "valid", "test": "tstid"}.items():
        for number in _integers(members, "setid.mat", key):
            if not 1 <= number <= len(labels):
                raise DataError(f"setid.mat: found image {number}, expected 1 to {len(labels)} as in imagelabels.mat")
            items.append(Item(f"jpg/image_{number:05d}.jpg", f"{int(labels[number - 1]):03d}", split))
    return listed_once(items)


def cub_200_2011(members: Members) -> list[Item]:
    """images/CLASS/*.jpg; numbered in images.txt, with split and class by number in two further lists."""
    names, classes = _numbered(members, "images.txt"), _numbered(members, "classes.txt")
    labels, training = _numbered(members, "image_class_labels.txt"), _numbered(members, "train_test_split.txt")
    splits = {"1": "train", "0": "test"}

    if not names.keys() == labels.keys() == training.keys():
        counts = f"{len(names)}, {len(labels)} and {len(training)} images"
        raise DataError(f"images.txt, image_class_labels.txt and train_test_split.txt differ: {counts}")
    if unknown := set(labels.values()) - classes.keys():
        raise DataError(f"image_class_labels.txt: found class {min(unknown)}, expected one of classes.txt")
    if unknown := set(training.values()) - splits.keys():
        raise DataError(f"train_test_split.txt: found {min(unknown)!r}, expected 1 (train) or 0 (test)")

    items = []
    for number, name in names.items():
        items.append(Item(f"images/{name}", classes[labels[number]], splits[training[number]]))
    return listed_once(items)


def fgvc_aircraft(members: Members) -> list[Item]:
    """images/NUMBER.jpg; classes are the finest level, the variants, with one list for each split."""
    items = []
    for split in ("train", "val", "test"):
        for number, label in _pairs(members, f"images_variant_{split}.txt"):
            items.append(Item(f"images/{number}.jpg", label, split))

    same_classes("variants.txt", set(_lines(members, "variants.txt")), set(labels_of(items)))
    return listed_once(items)


def mit_indoor_67(members: Members) -> list[Item]:
    """Images/CLASS/*.jpg, of which TrainImages.txt and TestImages.txt choose 6,700 of 15,620. Names have spaces."""
    items = []
    for split, file in {"train": "TrainImages.txt", "test": "TestImages.txt"}.items():
        items += _in_class_folders(_lines(members, file), split)
    return listed_once(items)


def stanford_dogs(members: Members) -> list[Item]:
    """Images/CLASS/*.jpg; the files of each split in train_list.mat and test_list.mat, together file_list.mat's."""
    items = []
    for split in ("train", "test"):
        items += _in_class_folders(_column(members, f"{split}_list.mat", "file_list"), split)

    everything = _in_class_folders(_column(members, "file_list.mat", "file_list"), "")
    if set(files_of(items)) != set(files_of(everything)):
        raise DataError("train_list.mat and test_list.mat together do not hold the files of file_list.mat")
    return listed_once(items)


def isic_2018(members: Members) -> list[Item]:
    """ISIC2018_Task3_Training_Input/*.jpg; the ground truth has a column for each class, 1.0 in one of them."""
    folder, file = "ISIC2018_Task3_Training_Input", "ISIC2018_Task3_Training_GroundTruth"
    items = []
    for row in _rows(members, f"{file}/{file}.csv", "image"):
        image = row.pop("image")
        values = list(row.values())
        if sorted(values) != ["0.0"] * (len(values) - 1) + ["1.0"]:
            raise DataError(f"{file}.csv: {image}: found {','.join(values)}, expected one 1.0 and else 0.0")

        label = list(row)[values.index("1.0")]
        items.append(Item(f"{folder}/{image}.jpg", label, ""))
    return listed_once(items)


def chestx_ray8(members: Members) -> list[Item]:
    """The images with one finding alone that is one of CHESTX_FINDINGS, wherever in the archives they are."""
    places = {basename(name): name for name in members}
    items = []
    for row in _rows(members, "Data_Entry_2017_v2020.csv", "Image Index", "Finding Labels"):
        name, findings = row["Image Index"], row["Finding Labels"]
        if findings in CHESTX_FINDINGS:
            items.append(Item(places.get(name, name), findings, ""))
    return listed_once(items)


def _in_class_folders(names: Iterable[str], split: str) -> list[Item]:
    """Images/CLASS/FILE of each CLASS/FILE."""
    return [Item(f"Images/{name}", name.partition("/")[0], split) for name in map(str, names)]


def _column(members: Members, file: str, key: str) -> list[Any]:
    """A vector, or a cell array of texts, of a .mat file."""
    from scipy.io import loadmat  # type: ignore[import-untyped]  # here: it takes a second to import

    if file not in members:
        raise DataError(f"{file} is missing from the archive")

    content = bytes(members[file].read())
    try:
        variables = loadmat(BytesIO(content), squeeze_me=True, variable_names=[key])
    except Exception as error:  # loadmat has no one class of errors for damaged files
        raise DataError(f"{file} is damaged: {error}") from error

    if key not in variables:
        raise DataError(f"{file}: found no variable {key}")
    values: list[Any] = np.atleast_1d(variables[key]).tolist()
    return values


def _integers(members: Members, file: str, key: str) -> list[int]:
    """A vector of whole numbers from 1. Raises DataError for any other."""
    numbers = _column(members, file, key)
    for number in numbers:
        if not isinstance(number, int | float) or number != number // 1 or number < 1:
            raise DataError(f"{file}: {key}: found {number!r}, expected whole numbers from 1")
    return [*map(int, numbers)]


def _lines(members: Members, file: str) -> list[str]:
    """The lines that are not blank."""
    return [line for line in text(members, file).splitlines() if line.strip()]


def _pairs(members: Members, file: str) -> list[tuple[str, str]]:
    """KEY VALUE, split at the first blank: a value may have blanks of its own."""
    pairs = []
    for line in _lines(members, file):
        key, blank, value = line.strip().partition(" ")
        if not blank:
            raise DataError(f"{file}: found the line {line!r}, expected two words or more")
        pairs.append((key, value))
    return pairs


def _numbered(members: Members, file: str) -> dict[str, str]:
    return dict(_pairs(members, file))


def _rows(members: Members, file: str, *columns: str) -> list[dict[str, str]]:
    """The rows of a csv file. Raises DataError where one of `columns` or a row's cell is missing."""
    table = csv.DictReader(text(members, file).splitlines())
    header = table.fieldnames or []
    lacking = [column for column in columns if column not in header]
    if lacking:
        raise DataError(f"{file}: found columns {', '.join(header)}, expected {', '.join(lacking)} too")

    rows = []
    for row in table:
        if None in row or None in row.values():
            raise DataError(f"{file}: line {table.line_num} has not one cell for each of its columns")
        rows.append(row)
    return rows
