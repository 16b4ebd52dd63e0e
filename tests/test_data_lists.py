"""The layouts that follow lists: what cannot be right is an error, and each image keeps its class and split."""

import re
from collections.abc import Mapping
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal.data import lists
from seal.data.archives import DataError, Member, Members
from seal.data.pack import SPLITS
from seal.data.targets import TARGETS
from tests.fixtures_targets import CHEST_HEADER, TRUTH, Files, all_files, cells, mat, table


def in_memory(files: Mapping[str, bytes]) -> Members:
    return {name: Member(name, len(content), "test", partial(bytes, content)) for name, content in files.items()}


FAULTS: list[tuple[str, dict[str, bytes | None], str]] = [
    ("flowers_102", {"setid.mat": None}, "setid.mat is missing from the archive"),
    ("flowers_102", {"setid.mat": mat(trnid=[1])}, "setid.mat: found no variable valid"),
    ("flowers_102", {"setid.mat": mat(trnid=[7], valid=[1], tstid=[2])}, "found image 7, expected 1 to 6"),
    ("flowers_102", {"setid.mat": mat(trnid=[1], valid=[2], tstid=[1])}, "jpg/image_00001.jpg is listed twice"),
    ("flowers_102", {"imagelabels.mat": mat(labels=[1, 2])[:150]}, "imagelabels.mat is damaged"),
    ("cub_200_2011", {"classes.txt": b"1 001.Albatross\n"}, "found class 2, expected one of classes.txt"),
    ("cub_200_2011", {"train_test_split.txt": b"1 0\n2 1\n"}, "differ: 3, 3 and 2 images"),
    ("cub_200_2011", {"train_test_split.txt": b"1 0\n2 1\n3 2\n"}, "found '2', expected 1 (train) or 0 (test)"),
    ("cub_200_2011", {"images.txt": b"1\n"}, "images.txt: found the line '1', expected two words or more"),
    ("fgvc_aircraft", {"variants.txt": b"737-200\nF/A-18\nDC-3\n"}, "one side alone has DC-3, Falcon 900"),
    ("fgvc_aircraft", {"images_variant_val.txt": b"0034309 737-200\n"}, "images/0034309.jpg is listed twice"),
    ("mit_indoor_67", {"TestImages.txt": b"bar/b2.jpg\n"}, "Images/bar/b2.jpg is listed twice"),
    ("mit_indoor_67", {"TestImages.txt": b"\xff\xfe"}, "TestImages.txt: not UTF-8 text"),
    ("stanford_dogs", {"test_list.mat": mat(file_list=cells(["n01-Pug/n01_1.jpg"]))}, "do not hold the files of"),
    ("isic_2018", {f"{TRUTH}/{TRUTH}.csv": table("image,MEL,NV", "ISIC_1,1.0,1.0")}, "ISIC_1: found 1.0,1.0, expected"),
    ("isic_2018", {f"{TRUTH}/{TRUTH}.csv": table("image,MEL,NV", "ISIC_1,0.0,0.5")}, "ISIC_1: found 0.0,0.5, expected"),
    ("isic_2018", {f"{TRUTH}/{TRUTH}.csv": table("image,MEL,NV", "ISIC_1,1.0")}, "line 2 has not one cell for each"),
    ("chestx_ray8", {"Data_Entry_2017_v2020.csv": b"<html>"}, "columns <html>, expected Image Index, Finding Labels"),
]


@pytest.mark.parametrize(("name", "changed", "message"), FAULTS)
def test_a_list_that_cannot_be_right_is_an_error(name: str, changed: Files, message: str) -> None:
    files = {file: content for file, content in (all_files(name) | changed).items() if content is not None}
    with pytest.raises(DataError, match=re.escape(message)):
        TARGETS[name].layout(in_memory(files))


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from(SPLITS)), min_size=3, max_size=20).filter(
    lambda drawn: {split for _, split in drawn} == set(SPLITS)))  # fmt: skip
def test_every_flower_keeps_its_class_and_split(drawn: list[tuple[int, str]]) -> None:
    numbers: dict[str, list[int]] = {split: [] for split in SPLITS}
    expected = {}
    for number, (label, split) in enumerate(drawn, start=1):
        numbers[split].insert(0, number)
        expected[f"jpg/image_{number:05d}.jpg"] = (f"{label:03d}", split)

    setid = mat(trnid=numbers["train"], valid=numbers["val"], tstid=numbers["test"])
    labels = mat(labels=[label for label, _ in drawn])
    items = lists.flowers_102(in_memory({"setid.mat": setid, "imagelabels.mat": labels}))
    assert {item.file: (item.label, item.split) for item in items} == expected


FINDINGS = [*sorted(lists.CHESTX_FINDINGS), "Pneumonia", "Hernia", "No Finding", "Edema"]


@given(st.lists(st.lists(st.sampled_from(FINDINGS), min_size=1, max_size=3, unique=True), max_size=20))
def test_a_chest_image_is_taken_for_one_finding_alone_of_the_seven(drawn: list[list[str]]) -> None:
    rows = [f"{n:08d}_000.png,{'|'.join(findings)},0,1,2,3" for n, findings in enumerate(drawn)]
    items = lists.chestx_ray8(in_memory({"Data_Entry_2017_v2020.csv": table(CHEST_HEADER, *rows)}))
    seven = {"Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax"}
    expected = {f"{n:08d}_000.png": only for n, (only, *more) in enumerate(drawn) if not more and only in seven}
    assert {item.file: item.label for item in items} == expected
