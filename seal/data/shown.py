"""`seal data NAME`: what a pack holds, as text: classes by split, sizes and modes of its files, what was left out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seal.config import Params
from seal.data.archives import DataError
from seal.data.fetched import read_record
from seal.data.pack import SPLITS, Pack
from seal.data.packing import list_of, opened
from seal.data.places import Places, relocate
from seal.data.selection import chosen_pack
from seal.data.sheet import write_sheet
from seal.errors import ConfigError
from seal.record import SHEETS
from seal.stage import progress_bar

MOST = 5  # sizes and modes that are named


def show_data(name: str, params: Params) -> Iterator[str]:
    """Lines on a dataset; its contact sheet is written as SHEETS/NAME.png.

    Raises ConfigError for a name that params.yaml has not, and what `chosen_pack` raises.
    """
    if name not in params.datasets:
        raise ConfigError(f"{name}: no such dataset, expected one of {', '.join(params.datasets)}")
    pack = chosen_pack(name, params.datasets[name])
    yield from _counts(pack)
    yield from _files(pack, name, params)
    yield from _left_out(pack)
    yield from _episodes(pack, name, params)

    sheet = SHEETS / f"{name}.png"
    write_sheet(sheet, pack, params.training)
    yield f"contact sheet: {sheet}"


def _counts(pack: Pack) -> Iterator[str]:
    """A line a class, and their sum."""
    counts = _class_counts(pack)
    width = max(map(len, ("class", "all", *pack.classes)))
    yield _row("class", SPLITS, width)
    for name, of_class in zip(pack.classes, counts, strict=True):
        yield _row(name, of_class, width)
    yield _row("all", counts.sum(0), width)


def _row(name: str, cells: Iterable[object], width: int) -> str:
    return f"{name:<{width}}" + "".join(f"{cell:>9}" for cell in cells)


def _class_counts(pack: Pack) -> NDArray[np.int64]:
    """How many images each class has in each of SPLITS: [classes, splits]."""
    columns = [np.bincount(pack[split].labels.numpy(), minlength=len(pack.classes)) for split in SPLITS]
    return np.stack(columns, axis=1)


def _files(pack: Pack, name: str, params: Params) -> Iterator[str]:
    """Sizes and modes of the packed images' files, by their headers, where the files are still here."""
    dataset = params.datasets[name]
    side = dataset.image_size
    try:
        paths = relocate(read_record(name), dataset, Places.of_environment())
    except DataError as error:
        yield f"packed at {side} x {side}; the files' sizes and modes cannot be read now: {error}"
        return

    sizes, modes = Counter[str](), Counter[str]()
    packed: list[str] = []
    for split in SPLITS:
        packed += pack[split].files

    with opened(dataset, paths) as (members, _, _), progress_bar() as bar:
        for file in bar.track(packed, description="files' headers"):
            content = members[file].read()
            image = Image.open(BytesIO(content)) if isinstance(content, bytes) else Image.fromarray(content)
            sizes[f"{image.width} x {image.height}"] += 1
            modes[image.mode] += 1

    yield f"packed at {side} x {side}, from files of {_common(sizes)}"
    yield f"colour modes: {_common(modes)}"


def _common(counts: Counter[str]) -> str:
    more = len(counts) - MOST
    named = ", ".join(f"{name} ({count})" for name, count in counts.most_common(MOST))
    return named + (f" and {more} others" if more > 0 else "")


def _left_out(pack: Pack) -> Iterator[str]:
    provenance, listed = pack.provenance, list_of(pack.path)
    for why, count in provenance.get("left_out", {}).items():
        yield f"left out: {count} {why}"
    for kind in ("bad", "doubled"):
        for name, count in provenance.get(kind, {}).items():
            yield f"left out: {count} {kind} of class {name}"
    if listed.is_file():
        yield f"each with its reason: {listed}"


def _episodes(pack: Pack, name: str, params: Params) -> Iterator[str]:
    """What few-shot evaluations will leave out: classes with fewer images than an episode takes."""
    if name not in params.fewshot.targets:
        return

    counts = _class_counts(pack).sum(1)
    for shots in params.fewshot.shots:
        needed = shots + params.fewshot.n_query
        enough = int((counts >= needed).sum())
        if enough < len(pack.classes):
            yield (f"fewshot at {shots} shots: {enough} of {len(pack.classes)} classes have the {needed} images of an "
                   f"episode, of {params.fewshot.n_way} classes")  # fmt: skip
