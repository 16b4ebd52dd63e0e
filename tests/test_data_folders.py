"""A user's folder of images: nothing vanishes in silence, and what is no class is none."""

import io
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features
from scipy.io import savemat

from seal.data.archives import DataError, Member, open_archives, open_table
from seal.data.folders import hidden_entries, open_folder, scan
from seal.data.layouts import IMAGE_SUFFIXES, class_folders, left_out, tiny_imagenet
from seal.data.lists import flowers_102
from seal.data.packing import make_pack
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import image_bytes

SYSTEM = [".ipynb_checkpoints", ".Trash-1000", ".thumbnails", "@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN"]
SYSTEM_FILES = ["._0.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png"]
FOLDER = Dataset(source="folder", path="x", image_size=8, split=SplitFractions(test=0.2, val=0.0))


def permissions_hold() -> bool:
    """Not for root, unless it has given up what passes them by."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).chmod(0)
        return not os.access(file.name, os.R_OK)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "images" / name / f"{number}.jpg").write_bytes(image_bytes(0))
    yield tmp_path / "images"
    for path in tmp_path.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def labels(folder: Path) -> set[str]:
    with open_folder([folder]) as members:
        return {item.label for item in class_folders(members)}


def complaint(folder: Path) -> str:
    """What a scan says of a folder that cannot be read, or of the one file that cannot."""
    try:
        reason, *_ = scan(folder).unreadable.values()
    except DataError as error:
        return str(error)
    return reason


@pytest.mark.parametrize("name", SYSTEM)
def test_a_systems_folder_is_no_class(name: str, folder: Path) -> None:
    (folder / name).mkdir()
    (folder / name / "0.jpg").write_bytes(image_bytes(0))
    assert labels(folder) == {"cat", "dog"}
    assert hidden_entries(folder) == 1


@pytest.mark.parametrize("name", SYSTEM_FILES)
def test_a_systems_file_is_no_image(name: str, folder: Path) -> None:
    (folder / "cat" / name).write_bytes(b"not an image")
    assert len(scan(folder).files) == 6
    assert hidden_entries(folder) == 1


def test_so_it_is_in_an_archive_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for name in ("cat/0.jpg", "__MACOSX/0.jpg", "cat/._0.jpg", "cat/notes.txt", "readme.md", "cat/more/1.jpg"):
            archive.writestr(name, image_bytes(0))
    with open_archives([tmp_path / "images.zip"]) as members:
        assert [item.file for item in class_folders(members)] == ["cat/0.jpg"]
        expected = {"hidden or the system's": 2, "no image by its name": 1, "not in a class's folder": 2}
        assert left_out(members) == expected


@pytest.mark.parametrize("place", ["cat/3.jpg", "bird"])
def test_a_link_to_nothing_is_named(place: str, folder: Path) -> None:
    (folder / place).symlink_to(folder / "nowhere")
    assert re.search(f"{place}: a link to nothing; make it one that can be read, or take it out", complaint(folder))


def test_a_link_in_a_circle_is_named(folder: Path) -> None:
    (folder / "cat/loop").symlink_to(folder / "cat/loop")
    assert re.search(r"cat/loop: .*; make it one that can be read", complaint(folder))


def test_links_to_images_and_classes_are_followed(folder: Path) -> None:
    (folder / "cat/3.jpg").symlink_to(folder / "cat/0.jpg")
    (folder / "bird").symlink_to(folder / "cat")
    assert len(scan(folder).files) == 3 + 1 + 3 + 4


@pytest.mark.skipif(not permissions_hold(), reason="permissions do not hold for root")
@pytest.mark.parametrize("place", ["cat", "cat/1.jpg", "."])
def test_what_may_not_be_read_is_named(place: str, folder: Path) -> None:
    (folder / place).chmod(0)
    assert "Permission denied; make it one that can be read" in complaint(folder)


def test_an_error_of_the_disk_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def access(path: str, mode: int) -> bool:
        if path.endswith("1.jpg"):
            raise OSError(5, "Input/output error", path)
        return True

    monkeypatch.setattr(os, "access", access)
    assert "1.jpg: Input/output error" in complaint(folder)


FORMATS = {".jfif": "JPEG", ".jpe": "JPEG", ".webp": "WEBP", ".avif": "AVIF", ".tga": "TGA", ".jp2": "JPEG2000"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_suffix_that_pillow_reads_is_an_image(suffix: str, folder: Path) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    assert suffix in IMAGE_SUFFIXES
    Image.new("RGB", (8, 8), "red").save(folder / f"cat/x{suffix}", format=FORMATS[suffix])
    with open_folder([folder]) as members:
        (item,) = (item for item in class_folders(members) if item.file.endswith(suffix))
        assert Image.open(io.BytesIO(bytes(members[item.file].read()))).size == (8, 8)


def test_one_class_is_nothing_to_tell_apart(folder: Path) -> None:
    (folder / "dog").rename(folder / ".dog")
    record = {"source": "folder", "homepage": "", "licence": "", "archives": [{"official": False}]}
    with pytest.raises(DataError, match="found cat alone, expected two or more"):
        make_pack(
            folder.parent / "x.safetensors", "x", FOLDER, record, [folder],
            scratch=folder.parent, workers=1, report=lambda done, total: None,
        )  # fmt: skip


def member(name: str, content: bytes = b"") -> Member:
    return Member(name, len(content), "archive", lambda: content)


def annotated(*lines: str) -> dict[str, Member]:
    files = {"wnids.txt": b"n1\n", "val/val_annotations.txt": "\n".join(lines).encode(), "train/n1/images/0.JPEG": b""}
    return {name: member(name, content) for name, content in files.items()}


def test_an_image_that_is_annotated_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"val/images/0.JPEG is listed twice"):
        tiny_imagenet(annotated("0.JPEG\tn1\t0\t0", "0.JPEG\tn1\t0\t0"))


def test_blank_lines_are_none_and_a_line_without_a_tab_is_named() -> None:
    assert len(tiny_imagenet(annotated("0.JPEG\tn1\t0", "", "  ", "1.JPEG\tn1"))) == 3
    with pytest.raises(DataError, match=r"line 2: found '1.JPEG n1', expected FILE, a tab and WNID"):
        tiny_imagenet(annotated("0.JPEG\tn1", "1.JPEG n1"))


@pytest.mark.parametrize("label", [1.5, -1, 0, float("nan"), float("inf"), "x"])
@pytest.mark.parametrize("file", ["imagelabels.mat", "setid.mat"])
def test_labels_and_numbers_are_whole_and_from_1(label: Any, file: str) -> None:
    tables = {"imagelabels.mat": {"labels": [1, 2]}, "setid.mat": {"trnid": [1], "valid": [2], "tstid": [2]}}
    tables[file] = {key: [label, *values[1:]] for key, values in tables[file].items()}
    members = {}
    for name, variables in tables.items():
        content = io.BytesIO()
        arrays = {key: np.array(values, object if "x" in values else None) for key, values in variables.items()}
        savemat(content, arrays)
        members[name] = member(name, content.getvalue())
    with pytest.raises(DataError, match=f"{file}: .*expected whole numbers from 1"):
        flowers_102(members)


@pytest.mark.parametrize("row", ["1,2,3,4,-1", "1,2,3,4,1.5", "1,2,3,4,300", "1,2,3,4,nan", "-1,2,3,4,0", "1,2,3,4"])
def test_a_tables_labels_are_whole_and_not_negative(row: str, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"1,2,3,4,0\n{row}\n")
    with pytest.raises(DataError, match=r"table.csv: damaged"), open_table([tmp_path / "table.csv"], side=2, white=255):
        pass
