"""The target datasets: each loader on a small archive in the official layout, official facts, and real images."""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from posixpath import basename

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal.data import lists
from seal.data.archives import DataError, Member, Members, open_archives
from seal.data.download import download, mismatch
from seal.data.fetch import Places, fetch
from seal.data.images import decode_images
from seal.data.layouts import below, class_folders
from seal.data.pack import SPLITS, Pack
from seal.data.sources import SOURCES, Archive
from seal.data.targets import TARGETS
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import make, mirror, places, silent
from tests.fixtures_targets import CHEST_HEADER, SMALL, TRUTH, Files, cells, dataset, mat, small, table, write

__all__ = ["mirror", "places", "small"]

# The paper's Table 3, and what section 4.1 says of Tiny-ImageNet: classes, train, valid, test.
TABLE_3 = {
    "flowers_102": (102, 1020, 1020, 6149),
    "cub_200_2011": (200, 5994, 0, 5794),
    "fgvc_aircraft": (100, 3334, 3333, 3333),
    "mit_indoor_67": (67, 5360, 0, 1340),
    "stanford_dogs": (120, 12_000, 0, 8580),
    "tiny_imagenet": (200, 100_000, 0, 10_000),
}
# The CD-FSL benchmark's classes and images, EuroSAT apart.
BENCHMARK = {"isic_2018": (7, 10_015), "chestx_ray8": (7, 25_848), "crop_disease": (38, 43_456)}


def in_memory(files: Mapping[str, bytes]) -> Members:
    return {name: Member(name, len(content), "test", partial(bytes, content)) for name, content in files.items()}


def contents(pack: Pack) -> dict[str, tuple[str, str]]:
    """File to (class, split), for everything in a pack."""
    packed = {}
    for split in SPLITS:
        for file, label in zip(pack[split].files, pack[split].labels.tolist(), strict=True):
            packed[file] = (pack.classes[label], split)
    return packed


def all_files(name: str) -> Files:
    """All files of a small dataset, relative to its root; plain lists at their top."""
    files: Files = {}
    for archive, content in SMALL[name].archives.items():
        files |= {archive: content} if isinstance(content, bytes) else content

    root = TARGETS[name].root
    return {file.removeprefix(f"{root}/"): content for file, content in files.items() if file.startswith(root)}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", TARGETS)
def test_a_small_archive_in_the_official_layout_is_loaded(places: Places, name: str) -> None:
    small = SMALL[name]
    assert set(small.archives) == {archive.name for archive in TARGETS[name].archives}
    write(places.mirror, small.archives)
    pack = make(places, dataset(name), name)

    assert contents(pack) == small.loaded
    assert pack.classes == sorted({label for label, _ in small.loaded.values()})
    for split in SPLITS:
        for file, image in zip(pack[split].files, pack[split].images, strict=True):
            assert image.numpy().tobytes() == decode_images([(file, all_files(name)[file])], 8)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", TARGETS)
def test_a_listed_image_that_is_not_there_is_named(places: Places, name: str) -> None:
    small = SMALL[name]
    image = basename(min(small.loaded))
    write(places.mirror, {archive: without(image, content) for archive, content in small.archives.items()})

    # Of class folders there is no list: there the counts tell.
    by_counts = TARGETS[name].layout is class_folders
    expected = "expected 2" if by_counts else f"1 images are named but not there: .*{image}"
    with pytest.raises(DataError, match=expected):
        make(places, dataset(name), name)


def without(image: str, content: Files | bytes) -> Files | bytes:
    """An archive without the file of that name; a plain list as it is."""
    if isinstance(content, bytes):
        return content
    return {file: data for file, data in content.items() if basename(file) != image}


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


def test_counts_are_the_papers_and_the_benchmarks() -> None:
    for name, (classes, *images) in TABLE_3.items():
        source = SOURCES[name]
        assert source.classes == classes
        assert [source.official_images.get(split, 0) for split in SPLITS] == images

    for name, (classes, total) in BENCHMARK.items():
        counts = TARGETS[name].per_class[""]
        assert (TARGETS[name].classes, len(counts), sum(counts.values())) == (classes, classes, total)


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.archives])
def test_official_counts_agree_with_one_another(name: str) -> None:
    """Those of all classes are those of each class, where a publisher gives both."""
    source = SOURCES[name]
    assert source.official_images, "an archive without a published checksum is held against them"
    for split, count in source.per_class.items():
        of_classes = [count] * source.classes if isinstance(count, int) else list(count.values())
        assert len(of_classes) == source.classes
        assert sum(of_classes) == source.images.get(split, source.official_images[split])


def test_every_target_has_a_small_archive() -> None:
    assert SMALL.keys() == TARGETS.keys()


def test_checksums_are_torchvisions_where_it_has_the_dataset() -> None:
    spec = find_spec("torchvision")  # read, not imported: that takes five seconds
    assert spec is not None
    assert spec.origin is not None
    flowers = (Path(spec.origin).parent / "datasets/flowers102.py").read_text()
    for archive in TARGETS["flowers_102"].archives:
        assert f'("{archive.name}", "{archive.md5}")' in flowers
        assert archive.url == "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/" + archive.name
    assert (
        TARGETS["fgvc_aircraft"].archives[0].url in (Path(spec.origin).parent / "datasets/fgvc_aircraft.py").read_text()
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_says_how_to_get_it(name: str, places: Places) -> None:
    source = TARGETS[name]
    assert source.licence
    for archive in source.archives:
        assert archive.url or source.instructions
        for digest, digits in ((archive.md5, 32), (archive.sha256, 64)):
            assert digest is None or re.fullmatch(rf"[0-9a-f]{{{digits}}}", digest)
    if all(archive.url for archive in source.archives):
        return
    reason = fetch(name, dataset(name), places, silent)["reason"]
    assert source.instructions in reason
    assert source.archives[0].name in reason


@pytest.mark.usefixtures("small")
def test_some_of_the_archives_are_not_enough_and_the_others_are_named(places: Places) -> None:
    places.downloads.mkdir()
    write(places.downloads, {"indoorCVPR_09.tar": SMALL["mit_indoor_67"].archives["indoorCVPR_09.tar"]})
    record = fetch("indoor", dataset("mit_indoor_67"), places, silent)
    assert "found 1 of 3 archives, but not TrainImages.txt, TestImages.txt; " in record["reason"]


@pytest.mark.usefixtures("small")
def test_an_archive_without_an_official_checksum_is_held_against_the_counts(places, monkeypatch) -> None:
    places.downloads.mkdir()
    write(places.downloads, SMALL["crop_disease"].archives)
    pack = make(places, dataset("crop_disease"), "crops")
    (archive,) = pack.provenance["archives"]
    assert (archive["official"], archive["checksum"]) == (False, "no official checksum is published")
    assert not pack.provenance["official"]
    more = replace(SOURCES["crop_disease"], per_class={"": {"Apple___healthy": 3}})
    monkeypatch.setitem(SOURCES, "crop_disease", more)
    with pytest.raises(DataError, match="class Apple___healthy: found 2 images, expected 3"):
        make(places, dataset("crop_disease"), "crops")


@pytest.mark.usefixtures("small")
def test_lists_that_were_cut_short_are_told_by_the_counts(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    write(places.mirror, SMALL["mit_indoor_67"].archives)
    monkeypatch.setitem(SOURCES, "mit_indoor_67", replace(SOURCES["mit_indoor_67"], images={"train": 3, "test": 2}))
    with pytest.raises(DataError, match="all classes: found 2 train images, expected 3"):
        make(places, dataset("mit_indoor_67"), "indoor")
    assert make(places, dataset("mit_indoor_67", classes=["mall"]), "indoor").classes == ["mall"]


def test_a_file_is_compared_by_what_is_published_of_it(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"abc")
    md5 = "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321
    for right in (Archive("list.txt", None), Archive("list.txt", 3), Archive("list.txt", None, md5)):
        assert mismatch(path, right) == ""
    assert mismatch(path, Archive("list.txt", 4)) == "found 3 bytes, expected 4"
    assert re.fullmatch(r"found md5 \w+ \(3 bytes\), expected 0123", mismatch(path, Archive("list.txt", None, "0123")))
    wanted = Archive("list.txt", None, url=path.as_uri())
    assert download(wanted, tmp_path / "downloads", silent).read_bytes() == b"abc"


@pytest.fixture
def real_isic(mirror: Path) -> dict[str, str]:
    """File to class, by another reader than the loader's."""
    with open_archives([mirror / "ISIC2018_Task3.tar"]) as members:
        text = bytes(members[f"{TRUTH}/{TRUTH}.csv"].read()).decode()
    header, *rows = csv.reader(io.StringIO(text))
    labels = np.array([row[1:] for row in rows], float).argmax(1)
    return {f"ISIC2018_Task3_Training_Input/{row[0]}.jpg": header[1 + k] for row, k in zip(rows, labels, strict=True)}


def test_real_isic_images(mirror: Path, tmp_path: Path, real_isic: dict[str, str]) -> None:
    data = dataset("isic_2018", image_size=64, images_per_class=60)
    pack = make(Places(mirror, tmp_path / "archives"), data, "isic", workers=2)
    assert pack.classes == ["AKIEC", "BCC", "BKL", "DF", "MEL", "NV", "VASC"]
    assert pack["train"].labels.bincount().tolist() == [60] * 7
    assert tuple(pack["train"].images.shape) == (420, 64, 64, 3)
    for file, (label, _) in contents(pack).items():
        assert real_isic[file] == label
    assert pack["train"].images.float().flatten(1).std(1).min() > 1  # no image is blank
    assert not pack.provenance["official"]


def test_the_mirrors_isic_is_not_taken_for_the_whole(mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class AKIEC: found 80 images, expected 327"):
        make(Places(mirror, tmp_path / "archives"), dataset("isic_2018"), "isic")


def test_real_eurosat_images(mirror: Path, tmp_path: Path) -> None:
    data = Dataset(source="eurosat", image_size=64, split=SplitFractions(test=0, val=0), images_per_class=30)
    pack = make(Places(mirror, tmp_path / "archives"), data, "eurosat", workers=2)
    assert Counter(file.split("/")[0] for file in pack["train"].files) == dict.fromkeys(pack.classes, 30)
    assert len(pack.classes) == 10
    with open_archives([mirror / "EuroSAT.tar"]) as members:
        content = below(members, "2750", "EuroSAT.tar")[pack["train"].files[0]].read()
    assert pack["train"].images[0].numpy().tobytes() == decode_images([("first", content)], 64)
