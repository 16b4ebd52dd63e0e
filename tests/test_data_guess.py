"""`seal data --guess` by a csv: which column is what, and when a csv beside folders of classes is not used."""

from pathlib import Path
from typing import Any

import pytest

from seal.data.guess import guess
from tests.fixtures_data import image_bytes
from tests.own_images import animals, table, write


@pytest.mark.parametrize(
    ("header", "row", "label", "split", "group"),
    [
        (("file", "patient", "tissue"), lambda n: (f"p{n % 3}", f"t{n % 4}"), "tissue", None, "patient"),
        (("file", "tissue", "lesion_id"), lambda n: (f"t{n % 4}", f"l{n % 2}"), "tissue", None, "lesion_id"),
        (("file", "scene", "A", "B"), lambda n: (n % 2, n % 2, 1 - n % 2), ["A", "B"], None, "scene"),
        (("file", "scene"), lambda n: (f"s{n % 3}",), "scene", None, None),
        (("file", "lesion_type", "patient_id"), lambda n: (n % 2, n % 5), "lesion_type", None, "patient_id"),
        (("file", "patient_sex", "LesionID", "Patient ID", "dx"), lambda n: (n % 2, n % 9, n % 5, n % 3), "dx", None,
         "Patient ID"),
        (("file", "case_id"), lambda n: (f"c{n % 3}",), "case_id", None, None),
        (("file", "group", "tissue"), lambda n: (("train", "test")[n % 2], f"t{n % 4}"), "tissue", "group", None),
    ],
)  # fmt: skip
def test_a_column_is_guessed_to_be_one_thing(
    header: tuple[str, ...], row: Any, label: Any, split: str | None, group: str | None, tmp_path: Path
) -> None:
    files = {f"{number}.png": content for number, content in enumerate(animals(("x",), 24).values())}
    truth = [(name, *map(str, row(number))) for number, name in enumerate(files)]
    entry = guess(write(tmp_path / "scans", files | {"truth.csv": table(truth, header)})).entry
    expected = {"file": "file", "label": label} | ({"split": split} if split else {})
    assert (entry["columns"], entry.get("group")) == (expected, group)


SHEETS: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]] = {
    "patients": (("image", "patient"), lambda n: (f"p{n // 4}",), {}),
    "their age and sex": (("image", "patient_id", "age", "sex"), lambda n: (n // 4, n // 4 + 40, n // 4 % 2), {}),
    "cases": (("image", "case_id"), lambda n: (f"c{n // 4}",), {}),
    "what is no class": (("image", "lesion_type", "patient_id"), lambda n: ("abc"[n % 3], f"p{n // 4}"), {}),
    "splits": (("image", "patient", "part"), lambda n: (f"p{n // 4}", ("train", "test")[n % 2]), {}),
    "classes": (
        ("image", "patient_sex", "patient_id", "diagnosis"), lambda n: ("FM"[n // 4 % 2], f"p{n // 4}", "ab"[n % 2]),
        {"labels": "sheet.csv", "columns": {"file": "image", "label": "diagnosis"}, "group": "patient_id"},
    ),
    "one-hot classes": (
        ("image", "slide", "A", "B"), lambda n: (f"s{n // 4}", n % 2, 1 - n % 2),
        {"labels": "sheet.csv", "columns": {"file": "image", "label": ["A", "B"]}, "group": "slide"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("above", ["", "scans/", "train/"])
@pytest.mark.parametrize("sheet", SHEETS)
def test_a_sheet_beside_folders_of_classes_says_which_are_the_classes_or_is_not_used(
    sheet: str, above: str, tmp_path: Path
) -> None:
    header, row, expected = SHEETS[sheet]
    images = {f"{above}{name}": content for name, content in animals(("tumor", "normal"), 20).items()}
    if above == "train/":
        images |= {f"test/{name}.png": image_bytes(900 + place) for place, name in enumerate(("tumor/x", "normal/y"))}
    rows = [(name, *map(str, row(number))) for number, name in enumerate(images)]
    guessed = guess(write(tmp_path / "images", images | {"sheet.csv": table(rows, header)}))
    assert {key: guessed.entry[key] for key in ("labels", "columns", "group") if key in guessed.entry} == expected
    unused = "; sheet.csv is not used: to split by its groups, give it a column `label` of the classes"
    assert guessed.says.endswith(unused) == (not expected)
    assert f"{len(images)} images of 2 classes" in guessed.says


@pytest.mark.parametrize(("header", "label"), [(("file", "grade"), "grade"), (("file", "age", "sex"), "sex")])
def test_classes_in_a_sheet_beside_folders_of_something_else_are_a_guess_that_says_so(
    header: tuple[str, ...], label: str, tmp_path: Path
) -> None:
    """As of a folder a patient."""
    images = animals(("p01", "p02", "p03"), 8)
    rows = []
    for number, name in enumerate(images):
        rows.append((name, f"{number % 6}", f"{number % 3}")[: len(header)])
    guessed = guess(write(tmp_path / "images", images | {"sheet.csv": table(rows, header)}))
    assert guessed.entry["columns"] == {"file": "file", "label": label}
    assert (
        f"whose column {label} may be classes (else leave out `labels` and `columns`: its folders are)" in guessed.says
    )


@pytest.mark.parametrize("folders", ["train/,test/", "images/", ""])
def test_a_sheet_of_images_in_no_folders_of_classes_is_used(folders: str, tmp_path: Path) -> None:
    """Those of splits are none."""
    tops = folders.split(",")
    names = [f"{tops[number % len(tops)]}{number}.png" for number in range(24)]
    images = dict(zip(names, animals(("x",), 24).values(), strict=True))
    rows = [(name, f"t{number % 4}", f"p{number % 5}") for number, name in enumerate(names)]
    entry = guess(write(tmp_path / "scans", images | {"t.csv": table(rows, ("file", "tissue", "patient"))})).entry
    assert (entry["columns"]["label"], entry["group"]) == ("tissue", "patient")
