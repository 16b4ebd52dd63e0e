"""How many images a dataset has: of its pack where there is one, else as source and split say before it is packed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open

from seal.config import Params
from seal.data.pack import METADATA, PACKS, SPLITS
from seal.data.places import source_of
from seal.data.selection import parameters_of, read_list
from seal.measure import Images
from seal.sections import Dataset, SplitFractions

UNKNOWN_IMAGES = 2000  # of a dataset whose size is known only once it is packed
UNKNOWN_CLASSES = 10

Counts = tuple[int, int, int]  # of train, val and test


def images_of(name: str, params: Params) -> Images:
    """Raises DataError for a source that there is not."""
    dataset = params.datasets[name]
    packed = _counts_of_pack(PACKS / f"{name}.safetensors", dataset)
    return Images(*(packed or _counts_of_split(dataset)), classes(dataset))


def classes(dataset: Dataset) -> int:
    if isinstance(dataset.classes, list):
        return len(set(dataset.classes))
    return dataset.classes or source_of(dataset).classes or UNKNOWN_CLASSES


def _counts_of_pack(path: Path, dataset: Dataset) -> Counts | None:
    """None where it holds another selection, as another tier's does, or is no whole pack."""
    if not path.exists():
        return None

    wanted = json.loads(json.dumps({"source": dataset.source, "selection": parameters_of(dataset)}))
    try:
        with safe_open(path, framework="np") as pack:
            provenance = json.loads(pack.metadata()[METADATA]).get("provenance", {})
            if not wanted.items() <= provenance.items():
                return None
            train, val, test = (int(pack.get_slice(f"{split}/labels").get_shape()[0]) for split in SPLITS)
    except (SafetensorError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return train, val, test


def _counts_of_split(dataset: Dataset) -> Counts:
    if dataset.split == "official" and (official := _official(dataset)):
        return official.get("train", 0), official.get("val", 0), official.get("test", 0)

    if isinstance(dataset.split, SplitFractions):
        total = _selected(dataset)
        val, test = round(total * dataset.split.val), round(total * dataset.split.test)
        return total - val - test, val, test

    if dataset.split == "official":  # of a user's own folders, which are counted as they are packed
        return UNKNOWN_IMAGES, 0, 0

    listed = list(read_list(Path(dataset.split)).values())
    return listed.count("train"), listed.count("val"), listed.count("test")


def _selected(dataset: Dataset) -> int:
    if dataset.images_per_class:
        return dataset.images_per_class * classes(dataset)
    return sum(_official(dataset).values()) or UNKNOWN_IMAGES


def _official(dataset: Dataset) -> dict[str, int]:
    """Images by the source's own splits, of the classes that are chosen: of a number for all classes their share."""
    source = source_of(dataset)
    counts = {}
    for split, of_all in source.official_images.items():
        of_class = source.per_class.get(split)
        if isinstance(of_class, Mapping):
            counts[split] = sum(of_class.get(name, 0) for name in _chosen(sorted(of_class), dataset))
        else:
            counts[split] = round(of_all * classes(dataset) / (source.classes or classes(dataset)))
    return counts


def _chosen(names: Sequence[str], dataset: Dataset) -> Iterable[str]:
    """Of the source's classes, by name, those that `classes` asks for, as packing chooses them."""
    if isinstance(dataset.classes, list):
        return set(dataset.classes)
    return names[: dataset.classes]
