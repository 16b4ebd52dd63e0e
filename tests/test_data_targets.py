"""The target datasets: each loader on a small archive in the official layout, and official facts."""

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from posixpath import basename

import numpy as np
import pytest

from seal.data.archives import DataError
from seal.data.fetch import fetch
from seal.data.images import decode_image
from seal.data.layouts import class_folders
from seal.data.pack import SPLITS
from seal.data.places import Places
from seal.data.recognise import COPIED
from seal.data.sources import SOURCES
from seal.data.targets import TARGETS
from seal.sections import Preprocessing
from tests.fixtures_data import contents, make, places, silent, write_tar
from tests.fixtures_targets import SMALL, Files, all_files, dataset, small, write

__all__ = ["places", "small"]

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
            assert np.array_equal(image, decode_image(file, all_files(name)[file], 8, Preprocessing()))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", sorted(COPIED.keys() & SMALL.keys()))
def test_a_copy_that_lies_deeper_and_has_another_name_is_read_as_the_official_one(tmp_path: Path, name: str) -> None:
    files = {f"copied/by somebody/{file}": content for file, content in all_files(name).items()}
    copy = dataset(name).model_copy(update={"path": str(write_tar(tmp_path / "mine.tar", files))})
    assert contents(make(Places(None, tmp_path / "archives"), copy, name)) == SMALL[name].loaded


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
    assert make(places, dataset("mit_indoor_67", classes=["bar", "mall"]), "indoor").classes == ["bar", "mall"]
