"""Splits that are drawn: a class's last images, or groups of images that stay on one side. Pure; for selection."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from seal.data.archives import DataError
from seal.data.layouts import Item, labels_of, splits_of
from seal.sections import SplitFractions

OfClass = dict[str, list[Item]]  # a class's images, in natural order


def drawn(of_class: Mapping[str, Sequence[Item]], fractions: SplitFractions) -> OfClass:
    """Every image in a split. Raises DataError where the fractions are more than all of a class, or groups leave it
    without images of a split that it is to have."""
    items = chain.from_iterable(of_class.values())
    if any(item.group for item in items):
        return _drawn_by_group(of_class, fractions)
    return {name: _cut(group, fractions) for name, group in of_class.items()}


def drawn_from_train(of_class: Mapping[str, Sequence[Item]], fractions: SplitFractions) -> OfClass:
    """The training images of an official split, some of which become the splits that it lacks.

    Raises DataError where it has one that is to be drawn.
    """
    official = set(splits_of(chain.from_iterable(of_class.values())))
    for split in ("test", "val"):
        if split in official and getattr(fractions, split):
            raise DataError(f"draw.{split}: found {split} images in the official split, expected 0 there")

    training, others = OfClass(), OfClass()
    for name, group in of_class.items():
        training[name] = [item for item in group if item.split == "train"]
        others[name] = [item for item in group if item.split != "train"]

    parted = drawn(training, fractions)
    for name, group in others.items():
        parted[name] += group
    return parted


def _cut(group: Sequence[Item], fractions: SplitFractions) -> list[Item]:
    """The last `test` of the class is test, the `val` before it val, each rounded to whole images."""
    test, val = round(len(group) * fractions.test), round(len(group) * fractions.val)
    train = len(group) - test - val
    if train < 0:
        raise DataError(f"split: found test {fractions.test} and val {fractions.val}, expected a sum of at most 1")

    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return [replace(item, split=split) for item, split in zip(group, splits, strict=True)]


def _drawn_by_group(of_class: Mapping[str, Sequence[Item]], fractions: SplitFractions) -> OfClass:
    """Whole groups, the last first, to test and then to val while a class's share is nearer with them than without.

    A group counts for the class that most of its images have. Where that leaves a class without a split, a split for
    which nothing was taken looks past groups that are too large for it.
    """
    members = defaultdict[str, list[Item]](list)
    for item in chain.from_iterable(of_class.values()):
        members[_group_of(item)].append(item)

    parted = _by_sides(of_class, _sides(members, fractions, past_large=False))
    if any(_lacking(group, fractions) for group in parted.values()):
        parted = _by_sides(of_class, _sides(members, fractions, past_large=True))
    for name, group in parted.items():
        _has_each(name, group, fractions)
    return parted


def _sides(members: Mapping[str, Sequence[Item]], fractions: SplitFractions, *, past_large: bool) -> dict[str, str]:
    """The split of each group, by its name."""
    of_major = defaultdict[str, list[str]](list)
    for key, items in members.items():
        ((major, _),) = Counter(labels_of(items)).most_common(1)
        of_major[major].append(key)

    side: dict[str, str] = {}
    for keys in of_major.values():
        total = sum(len(members[key]) for key in keys)
        for split in ("test", "val"):
            wanted, count = total * getattr(fractions, split), 0
            for key in reversed(keys):
                if key in side:
                    continue
                if wanted - count > len(members[key]) / 2:
                    count += len(members[key])
                    side[key] = split
                elif count or not past_large:
                    break
        side |= {key: "train" for key in keys if key not in side}
    return side


def _by_sides(of_class: Mapping[str, Sequence[Item]], side: Mapping[str, str]) -> OfClass:
    parted: OfClass = {}
    for name, group in of_class.items():
        parted[name] = [replace(item, split=side[_group_of(item)]) for item in group]
    return parted


def _group_of(item: Item) -> str:
    """Its group's name; an image without a group is one of its own."""
    return item.group or f"\0{item.file}"


def _lacking(group: Sequence[Item], fractions: SplitFractions) -> list[str]:
    """Of the splits that a class is to have, those without an image of it."""
    here = set(splits_of(group))
    shares = {"train": 1.0, "val": fractions.val, "test": fractions.test}
    return [split for split, share in shares.items() if share and split not in here]


def _has_each(name: str, group: Sequence[Item], fractions: SplitFractions) -> None:
    if lacking := _lacking(group, fractions):
        groups = len(set(map(_group_of, group)))
        raise DataError(
            f"split: class {name} has {groups} groups, which leave none to {' and '.join(lacking)}; choose other "
            "fractions or classes"
        )


def check_own(classes: Sequence[str], splits: Mapping[str, Sequence[Item]], key: str, fractions: object) -> None:
    """Raises DataError for classes of a user's own images that cannot be meant: two that differ by case alone, one
    that train lacks or the fractions, which stand at that key, leave without test images, a group on two sides."""
    of_case: dict[str, str] = {}
    for name in classes:
        if (other := of_case.setdefault(name.casefold(), name)) != name:
            raise DataError(f"classes {other} and {name} differ by case alone; give them one name, or two that differ")

    counts = {split: Counter(labels_of(items)) for split, items in splits.items()}
    inhabited = set(chain.from_iterable(counts.values()))
    if empty := sorted(set(classes) - inhabited):
        raise DataError(f"class {empty[0]} has no image left; mend its images, or choose `classes` without it")
    for split in ("val", "test"):
        if lacking := sorted(counts[split].keys() - counts["train"].keys()):
            raise DataError(f"{split} has classes that train lacks: {', '.join(lacking[:5])}; expected images of them")

    tested = isinstance(fractions, SplitFractions) and fractions.test
    if tested and (small := sorted(set(classes) - counts["test"].keys())):
        raise DataError(
            f"{key}: {len(small)} classes have too few images for one in test at {tested}, the first "
            f"{small[0]} with {counts['train'][small[0]]}; add images, or choose `classes` without them"
        )

    sides: dict[str, str] = {}
    for split, items in splits.items():
        for item in items:
            if item.group and (other := sides.setdefault(item.group, split)) != split:
                raise DataError(f"group {item.group} has images in {other} and {split}, expected one of them")
