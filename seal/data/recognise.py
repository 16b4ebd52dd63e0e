"""Copies of published datasets that somebody has rooted deeper or renamed, recognised by their counts; what is
recognised is said. Packing and `seal data --guess` ask."""

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from posixpath import join

from seal.data.archives import DataError, Members
from seal.data.layouts import Item, below, labels_of
from seal.data.source import Source
from seal.data.sources import SOURCES

COPIED = {"eurosat": "EuroSAT", "flowers_102": "Flowers-102", "cub_200_2011": "CUB-200-2011", "isic_2018": "HAM10000"}
DEEPEST = 3  # levels at which a copy's root is looked for
MOST_ROOTS = 64  # folders that are tried, the outer ones first


def rooted(members: Members, source: Source, origin: str) -> tuple[Members, list[Item]]:
    """The files below the source's folder and its images; of a copy that is rooted elsewhere, below that folder.

    Raises DataError where neither is there.
    """
    try:
        inside = below(members, source.root, origin)
        return inside, source.layout(inside)
    except DataError:
        elsewhere = _elsewhere(members, source)
        if elsewhere is None:
            raise

    root, items = elsewhere
    count, classes = len(items), len(set(labels_of(items)))
    place = root or "its top"
    print(f"{origin}: read from {place}, where {count} images of {classes} classes are", file=sys.stderr)
    return below(members, root, origin), items


def recognised(members: Members, name: str) -> tuple[str, list[Item]] | None:
    """The folder below which these files are that published dataset, and its images; None where they are not."""
    return _elsewhere(members, SOURCES[name])


def _elsewhere(members: Members, source: Source) -> tuple[str, list[Item]] | None:
    for root in _folders(members)[:MOST_ROOTS]:
        try:
            items = source.layout(below(members, root, ""))
        except DataError:
            continue
        if _is_of(source, items):
            return root, items
    return None


def copy_of(items: Sequence[Item]) -> str | None:
    """The published dataset that has as many images in each of as many classes; None for none."""
    sizes = Counter(labels_of(items))
    for name in COPIED:
        source = SOURCES[name]
        if len(sizes) == source.classes and _total(source) == len(items) and _same_sizes(source, sizes):
            return name
    return None


def _total(source: Source) -> int:
    return sum(source.official_images.values())


def _same_sizes(source: Source, sizes: Counter[str]) -> bool:
    """Whether classes are as large, where the source has no split and says how large."""
    official = source.per_class.get("")
    return isinstance(official, int) or official is None or sorted(official.values()) == sorted(sizes.values())


def _folders(members: Members) -> list[str]:
    """The files' folders to DEEPEST levels, the outer ones first; "" is the top."""
    folders = {""}
    for name in members:
        above = name.split("/")[:-1]
        folders.update(accumulate(above[:DEEPEST], join))
    return sorted(folders, key=lambda folder: (folder.count("/") + bool(folder), folder))


def _is_of(source: Source, items: Sequence[Item]) -> bool:
    """Whether these are as many classes as the source has, of its names where it says them."""
    labels = set(labels_of(items))
    named = source.per_class.get("")
    return labels == named.keys() if isinstance(named, dict) else len(labels) == source.classes
