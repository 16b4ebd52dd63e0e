"""Finding and verifying archives; what is recorded; what a user is told when they are not there."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from seal import config
from seal.data import fetch as fetching
from seal.data.archives import DataError
from seal.data.fetch import fetch
from seal.data.places import Places, relocate
from seal.data.sources import SOURCES
from seal.sections import Dataset, SplitFractions
from tests.fixtures_data import image_bytes, silent
from tests.fixtures_download import CONTENT, TINY
from tests.fixtures_download import places as places
from tests.fixtures_download import source as source


@pytest.mark.parametrize(
    ("folder", "name", "is_official"),
    [
        ("archives", "tiny-imagenet-200.zip", True),
        ("mirror", "tiny-imagenet-200.zip", True),
        ("mirror", "tiny-imagenet-200.zip", False),
        ("mirror", "tiny-imagenet-200.tar", False),
    ],
)
def test_an_archive_is_found_and_recorded_without_the_machine(
    folder: str, name: str, is_official: bool, places: Places, tmp_path: Path
) -> None:
    content = CONTENT if is_official else b"fewer images"
    (tmp_path / folder / name).write_bytes(content)
    record = fetch("tiny", TINY, places, silent)
    assert record["status"] == "present"
    digest = hashlib.sha256(content).hexdigest()
    assert record["archives"] == [{"name": name, "bytes": len(content), "sha256": digest, "official": is_official}]
    assert str(tmp_path) not in json.dumps(record)
    assert relocate(record, TINY, places) == [tmp_path / folder / name]


def test_the_mirror_is_looked_in_first(places: Places) -> None:
    (places.downloads / "tiny-imagenet-200.zip").write_bytes(CONTENT)
    (places.mirror / "tiny-imagenet-200.tar").write_bytes(b"fewer images")
    assert fetch("tiny", TINY, places, silent)["archives"][0]["name"] == "tiny-imagenet-200.tar"
    assert fetch("tiny", TINY, replace(places, mirror=None), silent)["archives"][0]["official"]


def test_a_wrong_checksum_outside_the_mirror_names_file_found_and_expected(places: Places) -> None:
    (places.downloads / "tiny-imagenet-200.zip").write_bytes(b"damaged")
    damaged, expected = hashlib.md5(b"damaged").hexdigest(), hashlib.md5(CONTENT).hexdigest()
    with pytest.raises(DataError, match=rf"tiny-imagenet-200\.zip: found md5 {damaged} .*, expected {expected}"):
        fetch("tiny", TINY, places, silent)


@pytest.mark.parametrize(("content", "is_official"), [(CONTENT, True), (b"fewer", False)], ids=["its", "no"])
def test_a_copy_by_its_path_is_taken_under_any_name_and_official_by_its_checksum_alone(
    places: Places, tmp_path: Path, content: bytes, is_official: bool
) -> None:
    """Where it is not, packing holds what it has against the official counts."""
    (tmp_path / "tiny-imagenet-200.zip").write_bytes(content)
    copy = TINY.model_copy(update={"path": str(tmp_path / "tiny-imagenet-200.zip")})
    (archive,) = fetch("tiny", copy, places, silent)["archives"]
    assert archive["official"] == is_official


def test_a_missing_dataset_says_what_to_do(places: Places, tmp_path: Path) -> None:
    record = fetch("tiny", TINY, replace(places, mirror=None), silent)
    assert record["status"] == "missing"
    for words in ("tiny-imagenet-200.zip", "data/archives", "SEAL_DATA_MIRROR", "dvc repro -f fetch@tiny"):
        assert words in record["reason"]
    assert "is set" not in record["reason"]
    mirrored = fetch("tiny", TINY, places, silent)["reason"]
    assert "SEAL_DATA_MIRROR is set, but holds none of tiny-imagenet-200.zip, tiny-imagenet-200.tar" in mirrored
    assert str(tmp_path) not in mirrored


def test_a_dataset_that_needs_a_login_gives_its_instructions(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    manual = replace(SOURCES["tiny_imagenet"], instructions="log in at X and take A")
    monkeypatch.setitem(SOURCES, "tiny_imagenet", manual)
    assert "log in at X and take A; put it in data/archives" in fetch("tiny", TINY, places, silent)["reason"]


def test_an_archive_that_changed_or_went_is_an_error(places: Places) -> None:
    path = places.downloads / "tiny-imagenet-200.zip"
    path.write_bytes(CONTENT)
    record = fetch("tiny", TINY, places, silent)
    path.write_bytes(b"changed")
    changed = hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(DataError, match=f"found sha256 {changed}, expected sha256 {record['archives'][0]['sha256']}"):
        relocate(record, TINY, places)
    path.unlink()
    with pytest.raises(DataError, match=r"found no such file in SEAL_DATA_MIRROR .* `dvc repro -f fetch@tiny`"):
        relocate(record, TINY, places)


def test_a_mirror_that_is_no_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEAL_DATA_MIRROR", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"SEAL_DATA_MIRROR: found .*nowhere, which is no folder"):
        Places.of_environment()


def test_an_unknown_source_is_an_error(places: Places) -> None:
    with pytest.raises(DataError, match="source is imagenet, expected one of mnist_5k, digits, tiny_imagenet, eurosat"):
        fetch("x", TINY.model_copy(update={"source": "imagenet"}), places, silent)


@pytest.mark.parametrize("name", ["mnist_5k", "digits"])
def test_data_inside_a_package_is_found_and_official(places: Places, name: str) -> None:
    data = Dataset(source=name, image_size=28, split=SplitFractions(test=0.2, val=0.1))
    record = fetch(name, data, places, silent)
    assert [archive["official"] for archive in record["archives"]] == [True]
    assert relocate(record, data, places)[0].name == record["archives"][0]["name"]


def test_a_folder_is_hashed_by_names_and_contents(places: Places, tmp_path: Path) -> None:
    data = Dataset(source="folder", image_size=8, split=SplitFractions(test=0.2, val=0), path=str(tmp_path / "mine"))
    assert "datasets.pets.path names no folder" in fetch("pets", data, places, silent)["reason"]
    (tmp_path / "mine/cat").mkdir(parents=True)
    (tmp_path / "mine/cat/1.png").write_bytes(image_bytes(0))
    record = fetch("pets", data, places, silent)
    assert record["archives"][0]["name"] == "mine"
    assert relocate(record, data, places) == [tmp_path / "mine"]
    (tmp_path / "mine/cat/1.png").rename(tmp_path / "mine/cat/2.png")
    with pytest.raises(DataError, match="mine: found sha256"):
        relocate(record, data, places)
    (tmp_path / "mine").rename(tmp_path / "moved")
    with pytest.raises(
        DataError, match=f"^mine: found no such file or folder as {re.escape(str(tmp_path / 'mine'))}, "
    ):
        relocate(record, data, places)


def test_the_stage_writes_the_record(places: Places, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEAL_DATA_MIRROR", "mirror")
    monkeypatch.setattr(config, "load_params", lambda: SimpleNamespace(datasets={"tiny": TINY}))
    fetching.main(["tiny"])
    assert json.loads(Path("data/sources/tiny.json").read_text())["status"] == "missing"
    (places.mirror / "tiny-imagenet-200.tar").write_bytes(b"fewer")
    fetching.main(["tiny"])
    assert json.loads(Path("data/sources/tiny.json").read_text())["status"] == "present"
    assert "not the official checksum" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="fetch@big: no such dataset, expected one of tiny"):
        fetching.main(["big"])


def test_the_stage_imports_nothing_slow() -> None:
    slow = ("torch", "torchvision", "sklearn", "mlxtend", "scipy", "mlflow", "matplotlib")
    code = f"import sys, seal.data.fetch, seal.data.packing; print([name for name in {slow} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
