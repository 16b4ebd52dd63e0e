"""Files that cannot be used, and contents that are there twice: in the pack or in the list, exactly once."""

import io
import os
import shutil
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seal.data.archives import DataError
from tests.fixtures_data import contents, image_bytes, write_tar, write_zip
from tests.own_images import Files, animals, left_out, pack, table, write


def mixed(folder: Path) -> dict[str, str]:
    """A folder as people have them; why each file that is no good is none."""
    random = np.random.default_rng(0)
    kinds = [("png", "PNG", "RGB"), ("JPG", "JPEG", "L"), ("tif", "TIFF", "CMYK"), ("bmp", "BMP", "P"),
             ("webp", "WEBP", "RGBA"), ("gif", "GIF", "L")]  # fmt: skip
    files: Files = {}
    for place, name in enumerate(("ant", "bee", "cow")):
        for number in range(12):
            suffix, kind, mode = kinds[random.integers(len(kinds))]
            pixels = random.integers(0, 256, (9, 7, 3), np.uint8)
            content = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(content, kind)
            files[f"{name}/{place}-{number}.{suffix}"] = content.getvalue()

    good = list(files)
    reasons = {"notes.txt": "not in", "ant/deep/x.png": "not in", "ant/read.me": "no image by its name"}
    reasons |= dict.fromkeys(("bee/._0.png", ".cache/a/b.png", "cow/Thumbs.db"), "hidden")
    reasons |= {"ant/empty.png": "an empty file", "bee/none.jpg": "not an image", "cow/cut.jpg": "not an image"}
    reasons |= {"cow/16.tif": "colour mode I;16", "bee/0-twice.png": "the same content as"}
    deep, cut = io.BytesIO(), io.BytesIO()
    Image.new("I;16", (4, 4)).save(deep, "TIFF")
    Image.effect_noise((64, 64), 90).save(cut, "JPEG")
    special = {"ant/empty.png": b"", "cow/cut.jpg": cut.getvalue()[:900], "cow/16.tif": deep.getvalue(),
               "bee/0-twice.png": files[good[0]]}  # fmt: skip
    write(folder, files | {name: special.get(name, b"no image") for name in reasons})

    (folder / "ant/gone.png").symlink_to("nowhere")
    name = os.fsdecode(b"bee/\xff.png")
    (folder / name).write_bytes(image_bytes(7))
    shown = name.encode(errors="backslashreplace").decode()
    return reasons | {"ant/gone.png": "a link to nothing", shown: "no name in UTF-8"}


def test_every_file_of_a_mixed_folder_is_in_the_pack_or_in_the_list_once(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    reasons = mixed(folder)
    with pytest.raises(DataError, match=r"ant/empty.png: an empty file; and 5 more; .* bad_images: skip; .*listed"):
        pack(folder)
    listed = left_out(folder)
    assert listed.keys() == reasons.keys()
    made = pack(folder, bad_images="skip", duplicates="drop")
    assert left_out(folder) == listed
    for name, reason in reasons.items():
        assert reason in listed[name], name

    packed = contents(made)
    there = {path.relative_to(folder).as_posix().encode(errors="backslashreplace").decode()
             for path in folder.rglob("*") if path.is_symlink() or path.is_file()}  # fmt: skip
    assert packed.keys() | listed.keys() == there
    assert not packed.keys() & listed.keys()
    assert made.provenance["bad"] == {"ant": 2, "bee": 2, "cow": 2}
    assert made.provenance["doubled"] == {"bee": 1}


def test_a_damaged_scan_is_left_out_as_any_bad_image(tmp_path: Path) -> None:
    scan = image_bytes(50, kind="TIFF").replace(b"\x11\x01\x04\x00", b"\x11\x01\x05\x00")  # offsets as fractions
    folder = write(tmp_path / "images", animals() | {"cat/scan.tif": scan})
    with pytest.raises(DataError, match=r"cat/scan\.tif: not an image that can be decoded"):
        pack(folder)
    assert len(contents(pack(folder, bad_images="skip"))) == 20
    assert "not an image" in left_out(folder)["cat/scan.tif"]


def test_what_a_csv_or_a_root_leaves_out_is_listed_once_and_counted(tmp_path: Path) -> None:
    files = {f"deep/{name}": content for name, content in {**animals(), **animals(("emu",))}.items()}
    files |= {"deep/emu/unnamed.png": image_bytes(999), "read.me": b"x"}
    rows = [(f"elsewhere/deep/{name}", name[:3]) for name in [*animals(), *animals(("emu",))]]
    folder = write(tmp_path / "images", files | {"deep/t.csv": table(rows)})
    (folder / "deep/cow").symlink_to(write(tmp_path / "linked", {"cow/notes.txt": b"x"}) / "cow")
    by_csv = pack(folder, labels="deep/t.csv", classes=["cat", "dog"])
    assert by_csv.provenance["left_out"] == {"no image by its name": 3, "not in deep/t.csv": 1}
    reasons = left_out(folder)
    assert reasons.pop("deep/cow/notes.txt" if "deep/cow/notes.txt" in reasons else "cow/notes.txt")
    assert {name.rpartition("/")[2] for name in reasons} == {
        "read.me", "t.csv", "unnamed.png", *(f"emu{number}.png" for number in range(10)),
    }  # fmt: skip
    assert sorted(reasons.values()).count("not chosen") == 10

    nested = pack(folder, label="parent")
    listed, packed = left_out(folder), contents(nested)
    assert "deep/" not in "".join(packed)
    assert not listed.keys() & packed.keys()
    assert listed.keys() == {"t.csv", "../read.me", "cow/notes.txt"}
    assert nested.provenance["left_out"] == {"no image by its name": 3}


ROOTED = {f"a/deep/{name}": content for name, content in animals().items()} | {
    "a/deep/notes.txt": b"x", "notes.txt": b"x", "a/read.me": b"x", "cat/._0.png": b"x", "a/deep/cat/.DS_Store": b"x",
}  # fmt: skip
LAID_OUT: dict[str, tuple[Files, dict[str, Any], dict[str, str]]] = {
    "a folder a class": ({}, {}, {"notes.txt": "not in a class's folder", "../../a/read.me": "no image by its name"}),
    "nested": ({}, {"label": "parent"}, {"notes.txt": "no image by its name"}),
    "own splits": (
        {f"a/deep/{split}/{name}": bytes([*content, place])
         for place, split in enumerate(("train", "test")) for name, content in animals().items()},
        {"split": "official"}, {"notes.txt": "no image by its name"},
    ),
    "a csv": (
        {"a/deep/t.csv": table([(name, name[:3]) for name in animals()]), "cat/cat0.png": image_bytes(9),
         "a/deep/cat/x.png": image_bytes(8)},
        {"labels": "t.csv"},
        {"t.csv": "no image by its name", "../../cat/cat0.png": "not in t.csv", "cat/x.png": "not in t.csv"},
    ),
}  # fmt: skip


# Of a folder itself plain classes are at the top, with no root below it.
STORED = [*product(LAID_OUT, ("zip", "tar", "folder"))]
STORED.remove(("a folder a class", "folder"))


@pytest.mark.parametrize(("layout", "kind"), STORED)
def test_what_lies_beside_a_root_is_in_the_pack_or_in_the_list_once(layout: str, kind: str, tmp_path: Path) -> None:
    more, values, reasons = LAID_OUT[layout]
    files = {**ROOTED, **more}
    writers = {"zip": write_zip, "tar": write_tar, "folder": write}
    path = writers[kind](tmp_path / "images", files)
    made = pack(path, **values)

    listed, packed = left_out(path), contents(made)
    there = {name.removeprefix("a/deep/") if name.startswith("a/deep/") else f"../../{name}" for name in files}
    assert packed.keys() | listed.keys() == there
    assert len(packed) + len(listed) == len(files)
    assert reasons.items() <= listed.items()
    counted = Counter(listed.values())
    if kind == "folder":  # of which hidden entries are counted to the classes' level, and not what is in them
        counted["hidden or the system's"] = 1
    assert made.provenance["left_out"] == counted


def test_the_same_content_in_train_and_test_is_refused_dropped_or_kept(tmp_path: Path) -> None:
    folder = write(tmp_path / "images", animals())
    shutil.copy(folder / "cat/cat9.png", folder / "cat/cat0.png")
    with pytest.raises(
        DataError, match=r"1 images have the same content in train and test, the first cat/cat0\.png and"
    ):
        pack(folder)
    assert contents(pack(folder, duplicates="drop"))["cat/cat9.png"] == ("cat", "test")
    assert left_out(folder) == {"cat/cat0.png": "the same content as cat/cat9.png"}
    assert len(contents(pack(folder, duplicates="keep"))) == 20
    assert left_out(folder) == {}
