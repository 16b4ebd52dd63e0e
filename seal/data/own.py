"""Layouts of a user's own images: nested classes, own train, val and test, or what a csv says. Pure.

Packing and `seal data` take an own dataset's images from `own_images`; a folder a class is `layouts.class_folders`, and
a csv of files and labels is read by `labelled`.
"""

from collections.abc import Iterable
from itertools import filterfalse
from posixpath import commonprefix, dirname

from seal.data.archives import DataError, Members
from seal.data.labelled import labelled_images
from seal.data.layouts import NOT_OF_A_CLASS, SPLIT_NAMES, Item, no_image, splits_of
from seal.sections import Dataset


def own_images(members: Members, dataset: Dataset) -> list[Item]:
    """The images of these files, as the dataset's `label`, `labels` and split say. Raises DataError for a folder or csv
    that says something else."""
    if dataset.labels is not None:
        return labelled_images(members, dataset, dataset.labels)

    items = []
    for name in filterfalse(no_image, members):
        item = _in_folders(name, dataset)
        if item is not None:
            items.append(item)

    if dataset.split == "official":
        _splits_are_there(items)
    return items


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
    above_classes = {tuple(name.split("/")[:-2]) for name in filterfalse(no_image, members)}
    root = ""
    for folder in commonprefix(list(above_classes)):
        if dataset.split == "official" and folder.lower() in SPLIT_NAMES:
            break
        root += f"{folder}/"
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


def _splits_are_there(items: Iterable[Item]) -> None:
    splits = set(splits_of(items))
    if "train" not in splits or len(splits) < 2:
        names = ", ".join(sorted(splits)) or "none"
        raise DataError(
            f"split official: found images in {names} of train/, val/ and test/, expected train/ and another; give "
            "fractions, as split: {test: 0.2, val: 0.1}, where there are no such folders"
        )
