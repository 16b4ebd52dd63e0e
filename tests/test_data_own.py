"""A user's own images in the layouts that people have: the same images, labels and splits from each, or one line."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seal.data.archives import DataError, open_archives
from seal.data.layouts import below
from seal.data.pack import SPLITS, Pack
from seal.data.places import Places
from seal.data.recognise import copy_of
from seal.data.sources import SOURCES
from seal.sections import Columns, SplitFractions
from tests.fixtures_data import contents, image_bytes, make, mirror, write_tar, write_zip
from tests.own_images import FRACTIONS, animals, own, pack, table, write

__all__ = ["mirror"]


def pictures(made: Pack) -> dict[str, tuple[str, str, bytes]]:
    """File, by its last name, to class, split and pixels."""
    packed = {}
    for split in SPLITS:
        part = made[split]
        for file, label, image in zip(part.files, part.labels.tolist(), part.images, strict=True):
            packed[file.rpartition("/")[2]] = made.classes[label], split, image.numpy().tobytes()
    return packed


def test_real_eurosat_in_four_layouts_is_one_dataset(mirror: Path, tmp_path: Path) -> None:
    with open_archives([mirror / "EuroSAT.tar"]) as members:
        inside = below(members, "2750", "EuroSAT.tar")
        names = [name for name in inside if int(name.split("_")[1].partition(".")[0]) <= 20]
        files = {name: bytes(inside[name].read()) for name in names}
    plain = pictures(pack(write(tmp_path / "plain", files)))
    assert len(plain) == 200

    flat = {f"images/{name.partition('/')[2]}": content for name, content in files.items()}
    rows = [(name.rpartition("/")[2].removesuffix(".jpg"), name.partition("/")[0]) for name in files]
    layouts: dict[str, tuple[Path, dict[str, Any]]] = {
        "zip": (write_zip(tmp_path / "copy.zip", {f"a/b/{k}": v for k, v in files.items()}), {}),
        "csv": (
            write(tmp_path / "flat", flat | {"truth.csv": table(rows, ("image", "dx"))}),
            {"labels": "truth.csv", "columns": Columns(file="image", label="dx")},
        ),
        "splits": (
            write(tmp_path / "splits", {f"{plain[k.rpartition('/')[2]][1]}/{k}": v for k, v in files.items()}),
            {"split": "official"},
        ),
        "nested": (write(tmp_path / "nested", {f"x/{k}": v for k, v in files.items()}), {"label": "parent"}),
    }
    for name, (path, values) in layouts.items():
        assert pictures(pack(path, **values)) == plain, name


def test_a_split_that_lacks_is_drawn_from_train(tmp_path: Path) -> None:
    files = {f"Training/{name}": content for name, content in animals().items()}
    files |= {f"test/{name}": content for name, content in animals(("cat", "dog", "cat"), 4).items()}
    folder = write(tmp_path / "images", {k: v + bytes(k.startswith("test")) for k, v in files.items()})
    made = pack(folder, split="official", draw=SplitFractions(test=0, val=0.2), duplicates="keep")
    assert [len(made[split].files) for split in SPLITS] == [16, 4, 8]
    with pytest.raises(DataError, match=r"draw\.test: found test images in the official split, expected 0"):
        pack(folder, split="official", draw=FRACTIONS)
    shutil.rmtree(folder / "test")
    with pytest.raises(DataError, match=r"found images in train of train/, val/ and test/"):
        pack(folder, split="official")


@pytest.mark.parametrize("drawn", ["all splits", "the test"])
def test_a_class_with_too_few_images_for_a_drawn_test_is_one_line(drawn: str, tmp_path: Path) -> None:
    few = {name: content for name, content in animals(count=20).items() if "cat" in name or name[7:-4] in ("0", "1")}
    folder, values, key = few, {}, "split"
    if drawn == "the test":
        key = "draw"
        folder = {f"train/{name}": content for name, content in few.items()} | {"val/cat/x.png": image_bytes(999)}
        values = {"split": "official", "draw": SplitFractions(test=0.2, val=0)}
    words = rf"{key}: 1 classes have too few images for one in test at 0\.2, the first dog with 2"
    with pytest.raises(DataError, match=words):
        pack(write(tmp_path / "images", folder), **values)


@pytest.mark.parametrize(
    ("label", "classes"),
    [("parent", ["persian", "poodle", "siamese"]), ("top", ["cats", "dogs"]),
     ("path", ["cats/old/persian", "cats/siamese", "dogs/poodle"])],
)  # fmt: skip
def test_nested_classes(label: str, classes: list[str], tmp_path: Path) -> None:
    places = "cats/old/persian", "cats/siamese", "dogs/poodle"
    files = {f"{place}/{number}{place[-3:]}.png": content for place in places
             for number, content in enumerate(animals(("x",), 5).values())}  # fmt: skip
    made = pack(write(tmp_path / "images", files), label=label, duplicates="keep")
    assert made.classes == classes
    assert sum(len(made[split].files) for split in SPLITS) == 15


def test_one_hot_columns_and_a_split_column(tmp_path: Path) -> None:
    files = animals()
    rows = [
        (name, *(("1.0", "0") if "cat" in name else ("0.0", "1")), "valid" if "7" in name else "TRAIN")
        for name in files
    ]
    files["truth.csv"] = table(rows, ("image", "CAT", "DOG", "part"))
    columns = Columns(file="image", label=["CAT", "DOG"], split="part")
    made = pack(write(tmp_path / "images", files), labels="truth.csv", columns=columns, split="official")
    assert made.classes == ["CAT", "DOG"]
    assert {name: split for name, (_, split) in contents(made).items() if split != "train"} == {
        "cat/cat7.png": "val", "dog/dog7.png": "val",
    }  # fmt: skip


def test_a_group_stays_on_one_side(tmp_path: Path) -> None:
    files = animals(count=20)
    rows = [(name, name[:3], f"{name[:3]}-{int(name[7:-4]) // 3}") for name in files]
    files["t.csv"] = table(rows, ("file", "label", "patient"))
    made = pack(write(tmp_path / "images", files), labels="t.csv", group="patient")
    sides: dict[str, set[str]] = {}
    for name, _, patient in rows:
        sides.setdefault(patient, set()).add(contents(made)[name][1])
    assert all(len(side) == 1 for side in sides.values())
    assert all(2 <= int((made["test"].labels == label).sum()) <= 6 for label in (0, 1))


@pytest.mark.parametrize("given", ["a list", "a column"])
def test_a_group_on_two_sides_of_a_given_split_is_one_line(given: str, tmp_path: Path) -> None:
    files = animals()
    sides = {name: "test" if name[7] in "01" else "train" for name in files}
    rows = [(name, name[:3], f"{name[:3]}-{int(name[7]) % 5}", sides[name]) for name in files]
    folder = write(tmp_path / "images", files | {"t.csv": table(rows, ("file", "label", "patient", "side"))})
    split_list = tmp_path / "list.csv"
    split_list.write_bytes(table([(split, name) for name, split in sides.items()], ("split", "file")))
    values = {"a list": {"split": str(split_list)}, "a column": {"split": "official", "columns": Columns(split="side")}}
    with pytest.raises(DataError, match=r"group cat-0 has images in train and test, expected one of them"):
        pack(folder, labels="t.csv", group="patient", **values[given])

    assert pack(folder, labels="t.csv", **values[given]).classes == ["cat", "dog"]


WRONG: dict[str, tuple[list[tuple[str, ...]], str]] = {
    "files that are not there": ([("cat/cat0.png", "cat"), ("x.png", "cat")], r"1 rows are not there \(x\.png\)"),
    "doubled rows": ([("cat/cat0.png", "cat"), ("cat0", "cat")], r"1 rows stand in two rows \(cat0\)"),
    "two labels": ([("cat0", "cat"), ("cat0", "dog")], "1 rows have two labels"),
    "no label": ([("cat0", "")], "1 rows have not one label"),
    "a path that climbs out": ([("../cat/cat0.png", "cat")], "climbs out of the folder"),
    "and one of another system": ([("..\\cat\\cat0.png", "cat"), ("C:cat0.png", "cat")], "2 rows have a path that cl"),
    "another folder's file of that name": ([("dog/cat0.png", "dog")], r"1 rows are not there \(dog/cat0\.png\)"),
    "a quoted line break": ([("cat/\ncat0.png", "cat")], "are not there"),
    "classes that differ by case": ([(f"cat{k}", "Cat" if k % 2 else "cat") for k in range(9)], "differ by case alone"),
    "a class with one image": ([*((f"cat{k}", "cat") for k in range(9)), ("dog0", "dog")], "too few images for one in"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_csv_that_is_wrong_is_one_line(wrong: str, tmp_path: Path) -> None:
    rows, words = WRONG[wrong]
    folder = write(tmp_path / "images", {**animals(), "labels.csv": table(rows)})
    with pytest.raises(DataError, match=words):
        pack(folder, labels="labels.csv")
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    ("content", "values", "words"),
    [
        ("file,label\ncaf\xe9,cat\n".encode("latin-1"), {}, "not UTF-8 .*save it as UTF-8"),
        ("file,label\ncat0,cat\n".encode("utf-16"), {}, "not UTF-8"),
        (table([]), {"labels": "none.csv"}, r"found no none.csv, expected one of labels.csv"),
        (table([], ("name", "class")), {}, "found columns name, class, expected file, label too"),
        (b"file,label\ncat0\n", {}, "not one cell for each column"),
        (b"file,label,label\ncat0,cat,dog\n", {}, "found column label more than once"),
        (b'file,label\n"cat0,cat\n', {}, "unexpected end of data"),
        (table([("cat0", "cat"), ("cat1", "dog")], ("file", "label")), {"group": "patient"}, "expected patient too"),
        (table([("cat0", "cat", "a"), ("dog0", "dog", "b")], ("file", "label", "p")), {"group": "p"}, "1 groups, wh"),
        (table([("cat0", "cat", "dev"), ("dog0", "dog", "train")], ("file", "label", "s")),
         {"columns": Columns(split="s"), "split": "official"}, "val has classes that train lacks: cat"),
    ],
)  # fmt: skip
def test_a_csv_that_cannot_be_read_is_one_line(content: bytes, values: dict[str, Any], words: str, tmp_path) -> None:
    folder = write(tmp_path / "images", {**animals(), "labels.csv": content})
    with pytest.raises(DataError, match=words):
        pack(folder, **{"labels": "labels.csv", **values})


def test_a_copy_that_is_rooted_elsewhere_is_recognised(tmp_path: Path, monkeypatch, capsys) -> None:
    counts = {"AnnualCrop": 6, "Forest": 5}
    small = replace(SOURCES["eurosat"], classes=2, per_class={"": counts})
    monkeypatch.setitem(SOURCES, "eurosat", small)
    files = {f"EuroSAT/RGB/{name}/{name}_{k}.jpg": image_bytes(k + 100 * len(name), kind="JPEG")
             for name, count in counts.items() for k in range(count)}  # fmt: skip
    for path in (write_tar(tmp_path / "renamed.tar", files), write(tmp_path / "unpacked", files)):
        made = make(Places(None, tmp_path / "archives"), own(path, source="eurosat"), "mine")
        assert made.classes == [*counts]
        assert "read from EuroSAT/RGB, where 11 images of 2 classes are" in capsys.readouterr().err

    assert pack(tmp_path / "renamed.tar").classes == [*counts]
    assert "as many images and classes as EuroSAT" in capsys.readouterr().err
    assert copy_of([]) is None
