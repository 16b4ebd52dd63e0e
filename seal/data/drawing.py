"""Splits that are drawn: a class's last images, or groups of images that stay on one side. Pure; for selection."""

from collections import Counter
from collections.abc import Mapping, Sequence

from seal.data.archives import DataError
from seal.data.layouts import Item
from seal.sections import SplitFractions

OfClass = dict[str, list[Item]]  # a class's images, in natural order


def drawn(of_class: Mapping[str, Sequence[Item]], fractions: SplitFractions) -> OfClass:
    """Every image in a split. Raises DataError where the fractions or groups leave a class without training images."""
    if any(item.group for group in of_class.values() for item in group):
        return _drawn_by_group(of_class, fractions)
    return {name: _cut(group, fractions) for name, group in of_class.items()}


def drawn_from_train(of_class: Mapping[str, Sequence[Item]], fractions: SplitFractions) -> OfClass:
    """The training images of an official split, some of which become the splits that it lacks.

    Raises DataError where it has one that is to be drawn.
    """
    there = {item.split for group in of_class.values() for item in group}
    for split in ("test", "val"):
        if split in there and getattr(fractions, split):
            raise DataError(f"draw.{split}: found {split} images in the official split, expected 0 there")

    training = {name: [item for item in group if item.split == "train"] for name, group in of_class.items()}
    parted = drawn(training, fractions)
    rest = {name: [item for item in group if item.split != "train"] for name, group in of_class.items()}
    return {name: [*parted[name], *rest[name]] for name in of_class}


def _cut(group: Sequence[Item], fractions: SplitFractions) -> list[Item]:
    """The last `test` of the class is test, the `val` before it val, each rounded to whole images."""
    test, val = round(len(group) * fractions.test), round(len(group) * fractions.val)
    train = len(group) - test - val
    if train < 0:
        raise DataError(f"split: found test {fractions.test} and val {fractions.val}, expected a sum of at most 1")

    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return [Item(item.file, item.label, split, item.group) for item, split in zip(group, splits, strict=True)]


def _drawn_by_group(of_class: Mapping[str, Sequence[Item]], fractions: SplitFractions) -> OfClass:
    """Whole groups, the last first, to test and then to val while a class's share is nearer with them than without.

    A group counts for the class that most of its images have. An image without a group is one of its own.
    """
    members: dict[str, list[Item]] = {}
    for group in of_class.values():
        for item in group:
            members.setdefault(item.group or f"\0{item.file}", []).append(item)

    of_major: dict[str, list[str]] = {name: [] for name in of_class}
    for key, items in members.items():
        of_major[Counter(item.label for item in items).most_common(1)[0][0]].append(key)

    side: dict[str, str] = {}
    for keys in of_major.values():
        total = sum(len(members[key]) for key in keys)
        rest = list(keys)
        for split in ("test", "val"):
            wanted, count = total * getattr(fractions, split), 0
            while rest and wanted - count > len(members[rest[-1]]) / 2:
                count += len(members[rest[-1]])
                side[rest.pop()] = split
        side |= dict.fromkeys(rest, "train")

    parted: OfClass = {}
    for name, group in of_class.items():
        parted[name] = [Item(item.file, item.label, side[item.group or f"\0{item.file}"], item.group) for item in group]
        _has_each(name, parted[name], fractions)
    return parted


def _has_each(name: str, group: Sequence[Item], fractions: SplitFractions) -> None:
    here = {item.split for item in group}
    wanted = ["train", *(split for split in ("val", "test") if getattr(fractions, split))]
    if lacking := [split for split in wanted if split not in here]:
        groups = len({item.group or item.file for item in group})
        raise DataError(
            f"split: class {name} has {groups} groups, which leave none to {' and '.join(lacking)}; choose other "
            "fractions or classes"
        )


def check_own(classes: Sequence[str], splits: Mapping[str, Sequence[Item]], fractions: object) -> None:
    """Raises DataError for classes of a user's own images that cannot be meant: two that differ by case alone, one
    that train lacks or the fractions leave without test images, a group on two sides."""
    of_case: dict[str, str] = {}
    for name in classes:
        if (other := of_case.setdefault(name.casefold(), name)) != name:
            raise DataError(f"classes {other} and {name} differ by case alone; give them one name, or two that differ")

    counts = {split: Counter(item.label for item in items) for split, items in splits.items()}
    if empty := [name for name in classes if not any(count[name] for count in counts.values())]:
        raise DataError(f"class {empty[0]} has no image left; mend its images, or choose `classes` without it")
    for split in ("val", "test"):
        if lacking := sorted(counts[split].keys() - counts["train"].keys()):
            raise DataError(f"{split} has classes that train lacks: {', '.join(lacking[:5])}; expected images of them")
    tested = isinstance(fractions, SplitFractions) and fractions.test
    if tested and (small := [name for name in classes if not counts["test"][name]]):
        raise DataError(
            f"split: {len(small)} classes have too few images for one in test at {tested}, the first "
            f"{small[0]} with {counts['train'][small[0]]}; add images, or choose `classes` without them"
        )

    sides: dict[str, str] = {}
    for split, items in splits.items():
        for item in items:
            if item.group and (other := sides.setdefault(item.group, split)) != split:
                raise DataError(f"group {item.group} has images in {other} and {split}, expected one of them")
