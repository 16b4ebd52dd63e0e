"""A bundle of a small study, checked in a folder that has nothing else; and files that are not the bundle written."""

import hashlib
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from seal.cli import app
from seal.config import load_params
from seal.data import fetch, packing
from seal.evaluations import EVALUATIONS
from seal.record import read_json, write_json
from seal.release.archive import CHECKSUMS, FACTS, open_bundle
from seal.release.bundle import write_bundle
from seal.train import run_stage
from tests.copies import copy_project
from tests.small_evaluations import SMALL
from tests.small_project import write_params

pytestmark = pytest.mark.xdist_group("release")  # one study and its bundle

ROOT = Path(__file__).parents[1]
RUN = "normal-0"
VALUES = f"results/{RUN}/eval/transfer-mine/gen-01.json"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose images ship in a package: generation 1 of 32 of them, and every evaluation of it."""
    root = tmp_path_factory.mktemp("study")
    copy_project(root, ("LICENSE", "CITATION.cff"))

    sections = {}
    for name, evaluation in EVALUATIONS.items():
        sections[name] = SMALL.get(name, {}) | ({"targets": ["mine"]} if evaluation.targeted else {})
    few = {"source": "digits", "image_size": 8, "classes": ["0", "1"], "images_per_class": 16}

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_params(
            main_arms=[],
            evaluated_arms=["normal"],
            datasets={"mine": few | {"split": {"test": 0.25, "val": 0.25}}},
            **sections,
        )
        fetch.main(["mine"])
        packing.main(["mine"])
        run_stage(RUN, load_params())
        for name, evaluation in EVALUATIONS.items():
            target = ["--target", "mine"] if evaluation.targeted else []
            import_module(f"eval.{name}").main(["--run", RUN, *target])
    return root


@pytest.fixture(scope="module")
def bundle(study: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study)
        return study / write_bundle()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, in which the project is installed and nothing else of it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def seal(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, arguments)
    return ended.exit_code, ended.output


def test_a_bundle_is_the_same_bytes_twice(study: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    assert write_bundle(Path("results").absolute(), study / "named.zip").read_bytes() == bundle.read_bytes()
    for path in Path("results").rglob("*"):
        path.touch()
    again = write_bundle(out=study / "again.zip")
    assert again.read_bytes() == bundle.read_bytes()


def test_a_bundle_holds_the_record_the_last_weights_and_no_images(study: Path, bundle: Path, tmp_path: Path) -> None:
    with open_bundle(bundle) as opened:
        names = set(opened.checksums)
        opened.extract(("results/",), tmp_path)
    assert {"README.md", "LICENSE", "CITATION.cff", "params.yaml", FACTS} <= names
    for path in (study / "results").rglob("*"):
        if path.is_file() and path.name != "handover.safetensors":
            assert (tmp_path / path.relative_to(study)).read_bytes() == path.read_bytes()
    assert not [name for name in names if "pack" in name or "handover" in name]


@pytest.mark.parametrize("name", EVALUATIONS)
def test_in_an_empty_folder_each_evaluation_gives_its_values_again(bundle: Path, elsewhere: Path, name: str) -> None:
    status, printed = seal("check", str(bundle), "--run", RUN, "--evaluation", name)
    assert status == 0, printed
    assert printed.rstrip().endswith(": the same values")
    assert {path.name for path in elsewhere.iterdir()} == {"check"}


def test_other_values_are_found_and_close_ones_told_with_the_tolerance(bundle: Path, elsewhere: Path) -> None:
    def with_accuracy_less_by(amount: float) -> Path:
        def change(contents: dict[str, bytes]) -> None:
            record = json.loads(contents[VALUES])
            record["values"]["validation"]["accuracy"] -= amount
            contents[VALUES] = json.dumps(record).encode()

        return changed(bundle, change, sums=True)

    status, printed = seal("check", str(with_accuracy_less_by(0.25)), "--run", RUN, "--evaluation", "transfer")
    assert (status, "other values" in printed, "2.5e-01 apart" in printed) == (1, True, True)
    without = changed(bundle, lambda contents: contents.update({VALUES: record_with(contents, values={})}), sums=True)
    status, printed = seal("check", str(without), "--run", RUN, "--evaluation", "transfer")
    assert (status, "transfer-mine: other values, and no number among them" in printed) == (1, True), printed
    status, printed = seal("check", str(with_accuracy_less_by(0.004)), "--run", RUN, "--evaluation", "transfer")
    assert (status, "within the tolerance" in printed, "tolerance 0.01" in printed) == (0, True, True)


def changed(bundle: Path, change: Callable[[dict[str, bytes]], object], sums: bool = False) -> Path:
    """A copy in the current folder with other members; with `sums`, checksums that agree with them."""
    with zipfile.ZipFile(bundle) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    if sums:
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items() if name != CHECKSUMS}
        contents[CHECKSUMS] = "".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()

    path = Path("changed.zip").absolute()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def record_with(contents: dict[str, bytes], **facts: object) -> bytes:
    return json.dumps(json.loads(contents[VALUES]) | facts).encode()


@pytest.mark.parametrize("text", [b"[]", b"{", b"{}", b'{"data_sha256": 3}', b'{"data_sha256": 3, "values": 3}'])
def test_a_record_in_a_bundle_that_is_none_is_one_line(
    bundle: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    """Its checksums say that it is as it was written, not by whom."""
    monkeypatch.setattr("seal.release.check._call", lambda *arguments: None)
    monkeypatch.setattr("seal.release.check._images", lambda place, dataset, expected: expected[:16])
    path = changed(bundle, lambda contents: contents.update({VALUES: text}), sums=True)
    status, printed = seal("check", str(path), "--run", RUN, "--evaluation", "transfer")
    assert (status, printed.splitlines()[-1].startswith(f"error: check/{path.stem}/{VALUES}: ")) == (1, True), printed


def facts_with(**values: object) -> Callable[[dict[str, bytes]], object]:
    return lambda contents: contents.update({FACTS: json.dumps(json.loads(contents[FACTS]) | values).encode()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda contents: contents.update({"params.yaml": b"tier: paper"}), "params.yaml is not what its checksum"),
        (lambda contents: contents.pop(VALUES), "gen-01.json is missing"),
        (lambda contents: contents.update({"results/more.json": b"{}"}), "results/more.json is not in checksums.txt"),
        (lambda contents: contents.update({"setup.py": b""}), "'setup.py' is no data of a record"),
        (lambda contents: contents.update({"results/seal.pkl": b""}), "'results/seal.pkl' is no data"),
        (lambda contents: contents.update({"results/../../a.json": b""}), "climbs out of the folder"),
        (lambda contents: contents.update({"/tmp/a.json": b""}), "climbs out of the folder"),
        (lambda contents: contents.update({"results/..\\..\\a.json": b""}), "climbs out of the folder"),
        (lambda contents: contents.update({"\\tmp\\a.json": b""}), "climbs out of the folder"),
        (lambda contents: contents.update({"C:\\a.json": b""}), "climbs out of the folder"),
        (lambda contents: contents.update({"results\\a.json": b""}), "is no data of a record"),
        (lambda contents: contents.pop(FACTS), "no bundle.json, expected a whole bundle"),
        (lambda contents: contents.pop(CHECKSUMS), "no checksums.txt, expected a whole bundle"),
        (lambda contents: contents.update({CHECKSUMS: b"nothing"}), "found 'nothing', expected `sha256  name`"),
        (lambda contents: contents.update({FACTS: b"[]"}), "bundle.json names no format"),
        (facts_with(format=0, version="0.0.1"), "found format 0, by version 0.0.1 of the artifact, expected 1"),
        (facts_with(weights=3), "bundle.json: weights: Input should be a valid list"),
    ],
)
def test_what_was_not_written_is_refused_in_one_line(
    bundle: Path, elsewhere: Path, change: Callable[[dict[str, bytes]], object], words: str
) -> None:
    status, printed = seal("check", str(changed(bundle, change)), "--run", RUN, "--evaluation", "transfer")
    assert (status, printed.count("\n")) == (1, 1)
    assert words in printed
    assert not (elsewhere / "check").exists()


def test_links_are_refused(bundle: Path, elsewhere: Path) -> None:
    path = shutil.copy(bundle, elsewhere / "linked.zip")
    link = zipfile.ZipInfo("results/link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    status, printed = seal("check", str(path))
    assert (status, "is a link, encrypted" in printed) == (1, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "found nothing"),
        (b"", "not a whole zip"),
        (b"%PDF-1.7", "not a whole zip"),
        ("cut", "expected a whole bundle"),
    ],
)
def test_what_is_no_zip_is_refused(bundle: Path, elsewhere: Path, content: bytes | str | None, words: str) -> None:
    path = elsewhere / "other.zip"
    if content is not None:
        path.write_bytes(bundle.read_bytes()[:-500] if isinstance(content, str) else content)
    status, printed = seal("check", str(path))
    assert (status, words in printed, printed.count("\n")) == (1, True, 1)
    status, printed = seal("check", str(elsewhere))
    assert (status, "found a folder" in printed) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", RUN], "found one of --run and --evaluation"),
        (["--run", "seal-0", "--evaluation", "transfer"], "no weights of it, expected one of normal-0"),
        (["--run", RUN, "--evaluation", "beauty"], "no such evaluation, expected one of transfer"),
    ],
)
def test_what_a_bundle_has_not_is_said(bundle: Path, elsewhere: Path, arguments: list[str], words: str) -> None:
    status, printed = seal("check", str(bundle), *arguments)
    assert (status, words in printed.splitlines()[-1]) == (1, True)


def test_weights_that_are_gone_are_named_with_the_command_that_makes_them(
    study: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(study, elsewhere / "copy")
    shutil.rmtree(copy / "results" / RUN / "weights")
    with monkeypatch.context() as patch:
        patch.chdir(copy)
        path = copy / write_bundle()
    status, printed = seal("check", str(path))
    assert (status, "weights of normal-0 are gone; `dvc repro base@0` with the bundle's params.yaml" in printed) == (
        0,
        True,
    )
    status, printed = seal("check", str(path), "--run", RUN, "--evaluation", "transfer")
    assert (status, "its weights are gone; `dvc repro base@0` with the bundle's params.yaml" in printed) == (1, True)


def test_a_record_that_is_not_whole_is_not_bundled(study: Path, elsewhere: Path) -> None:
    copy = shutil.copytree(study, elsewhere / "copy")
    (copy / "results" / RUN / "summary.json").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        status, printed = seal("bundle")
    assert (status, "found no record of normal-0; `make repro` makes what is missing" in printed) == (1, True)


@pytest.mark.parametrize("record", ["results", "kept"])
def test_a_record_with_a_broken_run_is_not_bundled(
    study: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, record: str
) -> None:
    copy = shutil.copytree(study, elsewhere / "copy")
    monkeypatch.chdir(copy)
    if record != "results":
        shutil.move("results", record)
    Path(record, RUN, "predictions/gen-01.npz").unlink()
    status, printed = seal("bundle", "--record", record)
    expected = f"found BROKEN runs, expected a record that is whole: {record}/{RUN}/predictions/gen-01.npz: not found"
    assert (status, expected in printed) == (1, True), printed


def test_an_evaluation_of_an_earlier_tier_is_not_in_the_bundle(
    study: Path, bundle: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(study, elsewhere / "copy")
    monkeypatch.chdir(copy)
    shutil.copytree(f"results/{RUN}/eval/transfer-mine", f"results/{RUN}/eval/transfer-others")
    assert write_bundle(out=copy / "again.zip").read_bytes() == bundle.read_bytes()


@pytest.fixture
def fresh(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in which nothing was trained: a study's weights in results/ would go into its bundle."""
    copy_project(elsewhere / "checkout", ("params", "expected/smoke", "LICENSE", "CITATION.cff"))
    monkeypatch.chdir(elsewhere / "checkout")


@pytest.mark.usefixtures("fresh")
def test_a_kept_study_is_a_bundle_without_weights() -> None:
    path = write_bundle(Path("expected/smoke"))
    assert re.fullmatch(r"bundle/seal-smoke-kept-[\d.]+\.zip", str(path)), "beside what `make bundle` wrote"
    with open_bundle(path) as opened:
        assert (opened.facts.tier, opened.facts.weights) == ("smoke", [])
        assert (
            "`dvc repro train@seal-1` with the bundle's params.yaml and 1 among its seeds"
            in opened.facts.gone["seal-1"]
        )
        assert "results/episodes/fewshot-digits.npz" in opened.checksums
        assert not [name for name in opened.checksums if "/report/" in name or "/timings/" in name]


@pytest.fixture
def copied(study: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study, and beside it a kept one, as of `seal study --record kept`."""
    copy = shutil.copytree(study, elsewhere / "copied")
    shutil.copytree(copy / "results" / RUN, copy / "kept" / RUN, ignore=shutil.ignore_patterns("weights", "handover*"))
    shutil.copytree(ROOT / "params", copy / "params")
    monkeypatch.chdir(copy)
    return copy


def test_a_studys_weights_are_those_that_lie_in_results_beside_the_same_record(copied: Path) -> None:
    kept = copied / "kept" / RUN
    with open_bundle(write_bundle(Path("kept"))) as opened:
        assert (opened.facts.weights, opened.facts.gone) == ([RUN], {})

    write_json(kept / "summary.json", read_json(kept / "summary.json") | {"provenance": {"another": True}})
    with open_bundle(write_bundle(Path("kept"))) as opened:
        assert (opened.facts.weights, [*opened.facts.gone]) == ([], [RUN])


def test_lists_of_images_go_with_the_parameters(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(ROOT)
        path = write_bundle(Path("expected/mini"), elsewhere / "mini.zip")
    with open_bundle(path) as opened:
        assert {"params/splits/mini.csv", "params/splits/isic_mini.csv"} <= opened.checksums.keys()


@pytest.mark.parametrize("split", ["mine.csv", "lists/mine.csv", "/tmp/mine.csv", "params/../mine.csv"])
def test_a_list_that_a_check_would_refuse_is_refused_before_anything_is_written(copied: Path, split: str) -> None:
    datasets = yaml.safe_load(Path("params.yaml").read_text())["datasets"]
    write_params(
        main_arms=[], evaluated_arms=["normal"], datasets=datasets | {"listed": datasets["mine"] | {"split": split}}
    )
    status, printed = seal("bundle", "--out", "new.zip")
    expected = f"error: found split {split}, expected a csv below params/; move it there, and name it so in datasets\n"
    assert (status, printed, Path("new.zip").exists()) == (1, expected, False)


def test_a_bundle_holds_the_parameters_by_which_its_runs_were_trained(copied: Path) -> None:
    """A kept study's may be its tier's with an overlay, as `seal tier smoke --choices author_code` lays one."""
    by_which = Path("params.yaml").read_text()
    with open_bundle(write_bundle(Path("kept"))) as opened:
        opened.extract(("params.yaml",), copied / "opened")
    assert Path("opened/params.yaml").read_text() == by_which

    datasets = yaml.safe_load(by_which)["datasets"]
    write_params(main_arms=[], evaluated_arms=["normal"], datasets=datasets, training={"learning_rate": 0.2})
    words = "summary.json: found learning_rate 0.05, expected 0.2 as it stands in params.yaml; "
    status, printed = seal("bundle", "--out", "new.zip")
    assert (status, printed) == (1, f"error: results/{RUN}/{words}`make repro` trains it by these\n")
    status, printed = seal("bundle", "--record", "kept", "--out", "new.zip")
    assert (status, printed) == (1, f"error: kept/{RUN}/{words}`seal tier` with its --choices writes them\n")
    assert not Path("new.zip").exists()

    named = yaml.safe_load(by_which) | {"model": {"network": "torchvision:resnet18"}}
    Path("params.yaml").write_text(yaml.safe_dump(named))
    for record, words in (("results", "make repro"), ("kept", "seal tier")):
        status, printed = seal("bundle", "--record", record, "--out", "new.zip")
        assert (status, f"error: {record}/{RUN}/summary.json: found model {{'" in printed) == (1, True)
        assert "expected {'network': 'torchvision:resnet18'" in printed
        assert words in printed


def test_other_images_than_the_records_are_refused(bundle: Path, elsewhere: Path) -> None:
    record = elsewhere / "record.json"
    with zipfile.ZipFile(bundle) as archive:
        record.write_bytes(archive.read(VALUES))
    write_json(record, read_json(record) | {"data_sha256": "0" * 64})
    path = changed(bundle, lambda contents: contents.update({VALUES: record.read_bytes()}), sums=True)
    status, printed = seal("check", str(path), "--run", RUN, "--evaluation", "transfer")
    assert (status, "found other images than the record's" in printed) == (1, True)
