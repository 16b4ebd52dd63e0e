"""How datasets are laid out: from the files of an archive to images with a class and an official split. Pure.

A source names its layout; those that follow lists are in `lists`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from posixpath import splitext

from seal.data.archives import DataError, Members
from seal.data.folders import is_hidden

# What Pillow reads of one picture to a file.
IMAGE_SUFFIXES = {
    ".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm",
    ".tga", ".tif", ".tiff", ".webp",
}  # fmt: skip
# What people call the three.
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
NOT_OF_A_CLASS = "not in a class's folder"


@dataclass(frozen=True, slots=True)
class Item:
    """One image: its file, relative to the dataset's root; its class; its official split ("" where there is none); and
    the patient or scene that it shares with others, where one is named."""

    file: str
    label: str
    split: str
    group: str = ""


def files_of(items: Iterable[Item]) -> Iterator[str]:
    """Each image's file."""
    return map(attrgetter("file"), items)


def labels_of(items: Iterable[Item]) -> Iterator[str]:
    """Each image's class."""
    return map(attrgetter("label"), items)


def splits_of(items: Iterable[Item]) -> Iterator[str]:
    """Each image's split."""
    return map(attrgetter("split"), items)


def below(members: Members, root: str, origin: str) -> Members:
    """The files below a folder, named relative to it. Raises DataError where there is none."""
    if not root:
        return members

    prefix = f"{root}/"
    inside = {name.removeprefix(prefix): member for name, member in members.items() if name.startswith(prefix)}
    if not inside:
        raise DataError(f"{origin}: found {next(iter(members), 'no file')} first, expected files in {prefix}")
    return inside


def class_folders(members: Members) -> list[Item]:
    """CLASS/FILE, without an official split. Other depths, files without an image's suffix, hidden names and the
    system's are left out."""
    return [Item(name, name.partition("/")[0], "") for name in members if not reason(name)]


def left_out(members: Members) -> dict[str, int]:
    """How many files class_folders leaves out, by reason."""
    return dict(sorted(Counter(filter(None, map(reason, members))).items()))


def reason(name: str) -> str:
    """Why a file is none of CLASS/FILE's images; empty for one of them."""
    parts = name.split("/")
    if len(parts) != 2 and not any(map(is_hidden, parts)):
        return NOT_OF_A_CLASS
    return no_image(name)


def no_image(name: str) -> str:
    """Why a file is no image, by its name; empty for one that may be."""
    if any(map(is_hidden, name.split("/"))):
        return "hidden or the system's"
    return "" if _is_image(name) else "no image by its name"


def rows(members: Members) -> list[Item]:
    """LABEL/ROW, as `archives.open_table` names a table's rows."""
    return [Item(name, name.partition("/")[0], "") for name in members]


def tiny_imagenet(members: Members) -> list[Item]:
    """train/WNID/images/*, and val/images/* with its class in val/val_annotations.txt: the official test images here.

    The archive's own test folder has no labels and is left out.
    """
    wnids = set(text(members, "wnids.txt").split())
    items = []
    for name in members:
        parts = name.split("/")
        if len(parts) == 4 and (parts[0], parts[2]) == ("train", "images") and _is_image(name):
            items.append(Item(name, parts[1], "train"))

    annotations = "val/val_annotations.txt"
    for number, line in enumerate(text(members, annotations).splitlines(), start=1):
        if not line.strip():
            continue
        file, tab, rest = line.partition("\t")
        if not tab:
            raise DataError(f"{annotations}: line {number}: found {line!r}, expected FILE, a tab and WNID")
        items.append(Item(f"val/images/{file}", rest.partition("\t")[0], "test"))

    trained = {item.label for item in items if item.split == "train"}
    same_classes("wnids.txt", wnids, trained)
    return listed_once(items)


def listed_once(items: list[Item]) -> list[Item]:
    """The items. Raises DataError where an image is listed twice: it would be in two classes or splits."""
    files: set[str] = set()
    for item in items:
        if item.file in files:
            raise DataError(f"{item.file} is listed twice")
        files.add(item.file)
    return items


def text(members: Members, name: str) -> str:
    """A list of the archive. Raises DataError where it is missing or no text."""
    if name not in members:
        raise DataError(f"{name} is missing from the archive")
    try:
        return bytes(members[name].read()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not UTF-8 text: {error}") from None


def same_classes(file: str, expected: set[str], actual: set[str]) -> None:
    """Raises DataError where the classes of a list's images are not those that a file names."""
    if differing := sorted(expected ^ actual):
        counts = f"found images of {len(actual)} classes, expected {len(expected)} as {file} names them"
        raise DataError(f"{counts}; one side alone has {', '.join(differing[:3])}")


def _is_image(name: str) -> bool:
    return splitext(name)[1].lower() in IMAGE_SUFFIXES
