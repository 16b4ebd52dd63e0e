"""Classes, images and splits are chosen by names alone; the mini tier's list follows its stated rule."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal.data.archives import DataError
from seal.data.layouts import Item
from seal.data.pack import SPLITS
from seal.data.selection import read_list, select
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import MINI, mini_rows

FRACTIONS = SplitFractions(test=0.2, val=0.1)


def dataset(**changes) -> Dataset:
    return Dataset(**{"source": "eurosat", "image_size": 8, "split": FRACTIONS} | changes)


def class_items(**sizes: int) -> list[Item]:
    numbered = [(name, index) for name, size in sizes.items() for index in range(1, size + 1)]
    return [Item(f"{name}/{name}_{index}.jpg", name, "") for name, index in numbered]


def chosen(items: list[Item], data: Dataset, listed=None, classes=None, counts=None):
    return select(items, data, listed=listed, classes=classes, counts=counts)


@given(
    sizes=st.dictionaries(st.text("abcd", min_size=1, max_size=2), st.integers(1, 40), min_size=1, max_size=4),
    test=st.sampled_from([0.0, 0.1, 0.2, 0.5]),
    val=st.sampled_from([0.0, 0.1, 0.3]),
    random=st.randoms(use_true_random=False),
)
def test_fractions_split_every_class_disjointly_completely_and_in_order(sizes, test, val, random) -> None:
    items = class_items(**sizes)
    shuffled = random.sample(items, len(items))
    selection = chosen(shuffled, dataset(split=SplitFractions(test=test, val=val)))
    assert selection == chosen(items, dataset(split=SplitFractions(test=test, val=val)))

    files = [item.file for split in SPLITS for item in selection.splits[split]]
    assert sorted(files) == sorted(item.file for item in items)
    assert list(selection.classes) == sorted(sizes)
    for name, size in sizes.items():
        numbers = {
            split: [int(re.findall(r"\d+", item.file)[0]) for item in selection.splits[split] if item.label == name]
            for split in SPLITS
        }
        assert len(numbers["test"]) == round(size * test)
        assert len(numbers["val"]) == round(size * val)
        assert sorted(numbers["train"]) + sorted(numbers["val"]) + sorted(numbers["test"]) == list(range(1, size + 1))


def patients(*sizes: int, name: str = "a") -> list[Item]:
    """A class of groups of so many images, the numbers of whose files follow one another."""
    items: list[Item] = []
    for patient, size in enumerate(sizes):
        for _ in range(size):
            items.append(Item(f"{name}/{len(items)}.png", name, "", f"{name}{patient}"))
    return items


def groups_of(items: list[Item], **fractions: float) -> dict[str, list[str]]:
    splits = chosen(items, dataset(split=SplitFractions(**fractions))).splits
    return {split: sorted({item.group for item in of_split}) for split, of_split in splits.items()}


@pytest.mark.parametrize(
    ("sizes", "test", "val"),
    [
        ((*[4] * 10, 30), ["a7", "a8", "a9"], ["a5", "a6"]),  # of 70, 14 and 7 are wanted
        ((*[2] * 10, 10, 40), ["a8", "a9", "a10"], ["a5", "a6", "a7"]),
        ((*[2] * 5, 30, 8), ["a6"], ["a3", "a4"]),  # too large for val alone
        ((*[4] * 5, 30, *[4] * 5), ["a8", "a9", "a10"], ["a6", "a7"]),  # none is passed by
    ],
)  # fmt: skip
def test_a_group_that_is_too_large_for_a_split_is_passed_by(sizes: tuple[int, ...], test: list, val: list) -> None:
    by_split = groups_of(patients(*sizes), test=0.2, val=0.1)
    assert (by_split["test"], by_split["val"]) == (sorted(test), sorted(val))
    assert len(by_split["train"]) == len(sizes) - len(test) - len(val)


@given(sizes=st.lists(st.integers(1, 12), min_size=3, max_size=12), test=st.sampled_from([0.1, 0.2, 0.4]))
def test_groups_that_go_in_order_are_the_last_ones(sizes: list[int], test: float) -> None:
    """While the share is nearer with the next than without, and where each split gets one."""
    left, expected = list(range(len(sizes))), {}
    for split, share in (("test", test), ("val", 0.1)):
        wanted, taken = share * sum(sizes), list[int]()
        while left and wanted - sum(sizes[patient] for patient in taken) > sizes[left[-1]] / 2:
            taken.append(left.pop())
        expected[split] = sorted(f"a{patient}" for patient in taken)
    if left and expected["test"] and expected["val"]:
        by_split = groups_of(patients(*sizes), test=test, val=0.1)
        assert by_split == {"train": sorted(f"a{patient}" for patient in left), **expected}


def test_one_class_that_is_passed_by_leaves_anothers_large_groups_where_they_are() -> None:
    items = [*patients(*[4] * 10, 30), *patients(*[4] * 10, name="b")]
    alone = groups_of(patients(*[4] * 10, name="b"), test=0.2, val=0.1)
    together = groups_of(items, test=0.2, val=0.1)
    assert {split: [group for group in groups if group[0] == "b"] for split, groups in together.items()} == alone


def test_each_split_is_sorted_by_class_and_file() -> None:
    for items in chosen(class_items(b=30, a=30), dataset()).splits.values():
        assert items == sorted(items, key=lambda item: (item.label, item.file))


def test_images_per_class_takes_the_first_by_number() -> None:
    selection = chosen(class_items(a=30, b=20), dataset(images_per_class=10))
    files = {item.file for items in selection.splits.values() for item in items}
    assert files == {f"{name}/{name}_{index}.jpg" for name in "ab" for index in range(1, 11)}
    assert [item.file for item in selection.splits["test"]] == ["a/a_10.jpg", "a/a_9.jpg", "b/b_10.jpg", "b/b_9.jpg"]


@pytest.mark.parametrize(("classes", "expected"), [(None, "abc"), (2, "ab"), (["c", "a"], "ac")])
def test_classes_are_all_or_the_first_or_the_named(classes, expected: str) -> None:
    assert "".join(chosen(class_items(c=5, a=5, b=5), dataset(classes=classes)).classes) == expected


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"classes": ["a", "x"]}, {}, "no image of x"),
        ({"classes": 4}, {}, "found images of 3, expected 4"),
        ({}, {"classes": 10}, "found images of 3, expected 10"),
        ({}, {"classes": 2}, "found images of 3, expected 2"),
        ({"images_per_class": 6}, {}, "class a has 5 images, expected 6"),
        ({"images_per_class": 2, "split": "official"}, {}, "images_per_class goes with split fractions"),
        ({"split": "official"}, {}, "source eurosat has no official split"),
        ({"split": SplitFractions(test=0.7, val=0.7)}, {}, "expected a sum of at most 1"),
        ({}, {"counts": {"": 6}}, "class a: found 5 images, expected 6"),
        ({}, {"counts": {"": {"a": 5, "b": 5, "c": 9}}}, "class c: found 5 images, expected 9"),
        ({"split": "l.csv"}, {"listed": {"a/a_1.jpg": "val", "a/0.jpg": "val"}}, "lacks 1 of 2 listed files: a/0.jpg"),
    ],
)
def test_what_is_not_there_is_an_error_with_found_and_expected(changes, arguments, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        chosen(class_items(a=5, b=5, c=5), dataset(**changes), **arguments)


def test_no_image_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="found no image"):
        chosen([], dataset())


def test_official_splits_are_kept_and_counted() -> None:
    places = [(name, split, index) for name in "ab" for split in ("train", "test") for index in range(4)]
    items = [Item(f"{split}/{name}{index}", name, split) for name, split, index in places]
    selection = chosen(items, dataset(split="official", classes=1), counts={"train": 4, "test": 4})
    assert {split: len(kept) for split, kept in selection.splits.items()} == {"train": 4, "val": 0, "test": 4}
    with pytest.raises(DataError, match="class a: found 4 test images, expected 5"):
        chosen(items, dataset(split="official"), counts={"train": 4, "test": 5})


def test_a_list_names_images_and_splits_and_classes_narrow_it() -> None:
    listed = {"b/b_2.jpg": "train", "a/a_1.jpg": "test", "b/b_1.jpg": "val"}
    selection = chosen(class_items(a=5, b=5, c=5), dataset(split="l.csv"), listed=listed, classes=10, counts={"": 99})
    assert selection.classes == ("a", "b")
    assert {split: [item.file for item in items] for split, items in selection.splits.items()} == {
        "train": ["b/b_2.jpg"], "val": ["b/b_1.jpg"], "test": ["a/a_1.jpg"],
    }  # fmt: skip
    narrowed = chosen(class_items(a=5, b=5), dataset(split="l.csv", classes=["a"]), listed=listed)
    assert narrowed.classes == ("a",)
    assert not narrowed.splits["train"]


def test_a_list_leaves_an_image_its_group() -> None:
    items = [replace(item, group=f"patient {item.file[-5]}") for item in class_items(a=3, b=3)]
    listed = {item.file: split for item, split in zip(items, 2 * SPLITS, strict=True)}
    selection = chosen(items, dataset(split="l.csv"), listed=listed)
    for split in SPLITS:
        expected = {replace(item, split=split) for item in items if listed[item.file] == split}
        assert set(selection.splits[split]) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\na,train\n", "expected the header split,file"),
        ("split,file\n", "expected the header split,file and then files"),
        ("split,file\ntraining,a\n", "found 'training,a', expected SPLIT,FILE"),
        ("split,file\ntrain,a,b\n", "found 'train,a,b', expected SPLIT,FILE"),
        ("split,file\ntrain,a\ntest,a\n", "a is listed twice"),
    ],
)
def test_a_wrong_list_is_an_error_that_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_list(tmp_path / "list.csv")


def test_a_list_may_begin_with_the_mark_of_a_spreadsheet(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("split,file\r\ntrain,a.png\r\n", encoding="utf-8-sig", newline="")
    assert read_list(tmp_path / "list.csv") == {"a.png": "train"}


def test_a_list_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"split params/none\.csv: no such file"):
        read_list(Path("params/none.csv"))


def test_the_mini_list_follows_its_rule() -> None:
    listed = read_list(MINI)
    official = [file for file in listed if file.startswith("val/")]
    wnids = sorted({file.split("/")[1] for file in listed if file.startswith("train/")})
    assert len(wnids) == 20
    # In the file, each class's official validation images follow its other rows.
    of_class = {wnid: official[50 * index : 50 * index + 50] for index, wnid in enumerate(wnids)}
    assert mini_rows(wnids, of_class) == MINI.read_text(encoding="utf-8")
    assert MINI.stat().st_size < 1_000_000
