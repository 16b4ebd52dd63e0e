"""Every file of ours is read by a reader that checks it: one line, which names the file and says what to do."""

import errno
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, safe_open, save_file

from eval.claims.document import VerdictName, read_verdicts
from eval.claims.rule import Verdict
from seal.data.archives import DataError, open_archives
from seal.data.fetched import read_record
from seal.data.folders import open_folder
from seal.data.images import decode_image
from seal.data.pack import SPLITS, open_pack
from seal.data.selection import read_list
from seal.errors import UserError, one_line_errors
from seal.files import atomic, new_folder
from seal.measure import Rates
from seal.own_records import OwnNetworks, own_networks, own_numbers
from seal.planning.calibration import known_machines
from seal.record import read_history, read_json, write_json
from seal.run_folder import RunFolder
from seal.sections import Preprocessing
from seal.stage_names import parts
from seal.timings import read_timings
from seal.tracking import database
from seal.tracking.own import facts_of
from seal.tracking.sync import stages_of
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
KINDS = [field.name for field in fields(Rates) if field.name != "launched"]
Edit = Callable[[dict[str, Any]], object]


def refused(read: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


NO_TEXT = [None, 7, [1], {}]
FETCHED = [(key, value) for key in ("name", "source", "homepage", "licence", "status", "archives") for value in NO_TEXT]


@pytest.mark.parametrize(("key", "value"), [*FETCHED, *((key, "x") for key in ("name", "status", "archives"))])
def test_a_fetched_record_is_checked(project: Path, key: str, value: Any) -> None:
    path = Path("data/sources/mine.json")
    record = read_json(path)
    path.unlink()
    write_json(path, record | {key: value})
    refused(lambda: read_record("mine"), str(path), "`dvc repro -f fetch@mine`")


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000, '{"name": "mine"}', "\x00"])
def test_what_is_no_fetched_record_is_refused(project: Path, text: str) -> None:
    path = Path("data/sources/mine.json")
    path.unlink()
    path.write_text(text)
    refused(lambda: read_record("mine"), str(path), "`dvc repro -f fetch@mine`")


def spoil_pack(change: Callable[[dict[str, torch.Tensor]], object], edit: Edit = lambda metadata: None) -> None:
    path = Path("data/packs/mine.safetensors")
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()["pack"])
    change(tensors)
    edit(metadata)
    path.unlink()
    save_file(tensors, path, {"pack": json.dumps(metadata)})


TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "a label of -1": lambda tensors: tensors["train/labels"][0].fill_(-1),
    "a label too large": lambda tensors: tensors["test/labels"][0].fill_(2),
    "labels as floats": lambda tensors: tensors.update({"train/labels": tensors["train/labels"].float()}),
    "a label less": lambda tensors: tensors.update({"train/labels": tensors["train/labels"][1:].clone()}),
    "an image less": lambda tensors: tensors.update({"val/images": tensors["val/images"][1:].clone()}),
    "images as floats": lambda tensors: tensors.update({"val/images": tensors["val/images"].float()}),
    "one channel": lambda tensors: tensors.update({"train/images": tensors["train/images"][..., :1].clone()}),
    "no images": lambda tensors: tensors.pop("train/images"),
    "no names": lambda tensors: tensors.update({"train/files": torch.zeros(0, dtype=torch.uint8)}),
    "names of no text": lambda tensors: tensors["train/files"].fill_(255),
}


@pytest.mark.parametrize("change", TENSORS)
def test_a_packs_tensors_are_checked(project: Path, change: str) -> None:
    spoil_pack(TENSORS[change])

    def read() -> None:
        pack = open_pack("data/packs/mine.safetensors")
        for split in SPLITS:
            pack[split]

    refused(read, "data/packs/mine.safetensors", "`dvc repro -f pack@mine`")


@pytest.mark.parametrize("key", ["schema", "name", "status", "classes", "provenance"])
@pytest.mark.parametrize("value", [None, 7, "x", "missing"])
def test_a_packs_metadata_is_checked(project: Path, key: str, value: Any) -> None:
    spoil_pack(lambda tensors: None, lambda metadata: metadata.update({key: value}))
    refused(lambda: open_pack("data/packs/mine.safetensors"), "data/packs/mine.safetensors", "pack@mine`")


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "generation,epoch\n1\n", "\x00", "generation,epoch,global_epoch,phase\nx,1,1,a\n"]
)
def test_a_history_is_checked(tmp_path: Path, text: str) -> None:
    (tmp_path / "history.csv").write_text(text)
    refused(lambda: read_history(tmp_path / "history.csv"), str(tmp_path / "history.csv"), "`dvc checkout`")


def test_timings_are_checked(tmp_path: Path) -> None:
    text = next(iter(sorted((ROOT / "expected/smoke/timings").glob("*.csv")))).read_text()
    path = tmp_path / "timings.csv"
    header, row, *_ = text.splitlines()
    for spoiled in ("x,y\n1,2", f"{header}\n{row},1", f"{header}\n{row[:-9]}noon", row, f"{header}\nabc"):
        path.write_text(spoiled)
        refused(lambda: read_timings(path), str(path), "delete it")
    path.write_bytes(b"\xff\xfe")
    refused(lambda: read_timings(path), "delete it")
    path.write_text(text)
    assert read_timings(path)


@pytest.mark.parametrize("text", ["[]", "stages: 7", "stages: {a: 7}", "stages: {a: {outs: [7]}}", "{", "a: 1\na: 2"])
def test_dvc_lock_is_checked(tmp_path: Path, text: str) -> None:
    (tmp_path / "dvc.lock").write_text(text)
    refused(lambda: stages_of(tmp_path / "dvc.lock"), "dvc.lock", "`git restore dvc.lock` brings it back")


CALIBRATED = {"rates": dict.fromkeys(KINDS, 2.0), "start_seconds": 2.0, "device": "cpu", "at": 1.0}
DAMAGED: list[Any] = [
    7, [], "x", {"key": 7}, {"key": {}}, {"key": CALIBRATED | {"at": "noon"}}, {"key": CALIBRATED | {"device": 1}},
    {"key": CALIBRATED | {"rates": {}}}, {"key": CALIBRATED | {"rates": {"x": 1.0}}}, {"key": CALIBRATED | {"at": 0}},
    {"key": CALIBRATED | {"rates": dict.fromkeys(KINDS, 0.0)}}, {"key": CALIBRATED | {"start_seconds": -1.0}},
]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000, *map(json.dumps, DAMAGED)])
def test_a_calibration_that_is_damaged_is_measured_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "calibration.json").write_text(text)
    assert known_machines(tmp_path / "calibration.json") == {}


def test_a_calibration_is_read_as_it_was_measured(tmp_path: Path) -> None:
    write_json(tmp_path / "calibration.json", {"key": CALIBRATED})
    machine = known_machines(tmp_path / "calibration.json")["key"].machine()
    assert (machine.rates.trained, machine.rates.launched, machine.start_seconds) == (2.0, math.inf, 2.0)


def claim_of(document: dict[str, Any]) -> Any:
    return document["claims"][0]


VERDICTS: dict[str, Edit] = {
    "no tier": lambda document: document.pop("tier"),
    "no claims": lambda document: document.pop("claims"),
    "a verdict of another name": lambda document: claim_of(document).update(verdict="PROVEN"),
    "a mean in words": lambda document: claim_of(document)["comparisons"][0].update(mean="large"),
    "a mean that is no number": lambda document: claim_of(document)["comparisons"][0].update(mean=math.nan),
    "a comparison without its level": lambda document: claim_of(document)["comparisons"][0].pop("level"),
    "no comparison": lambda document: claim_of(document).update(comparisons=[]),
    "an interval of three": lambda document: claim_of(document)["comparisons"][0].update(interval=[1.0, 2.0, 3.0]),
    "a term of no arm": lambda document: claim_of(document)["comparisons"][0].update(term="a b"),
    "a file without a hash": lambda document: document["files"].popitem(),
    "a condition that is not told": lambda document: document["conditions"].pop("R1"),
    "an evaluation of no name": lambda document: claim_of(document).update(needs=["x"]),
    "a target less": lambda document: claim_of(document).update(needs=["transfer"]),
    "what is untestable as text": lambda document: document.update(untestable="x"),
}


@pytest.mark.parametrize("edit", VERDICTS)
def test_verdicts_are_checked_before_a_report_is_made_of_them(tmp_path: Path, edit: str) -> None:
    path = tmp_path / "claims.json"
    document = read_json(ROOT / "expected/mini/claims.json")
    path.write_text(json.dumps(document))
    assert read_verdicts(path) == document
    VERDICTS[edit](document)
    path.write_text(json.dumps(document))
    refused(lambda: read_verdicts(path), str(path), "`dvc repro -f claims`")


def test_every_verdict_is_read() -> None:
    assert {*get_args(VerdictName)} == {*Verdict}


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", '{"tier": "mini"}'])
def test_what_is_no_claims_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.json").write_text(text)
    refused(lambda: read_verdicts(tmp_path / "claims.json"), "claims.json", "`dvc ")


@pytest.mark.parametrize("text", ["{", "7", "{}", '{"model": "resnet18", "options": {}}'])
def test_what_seal_evaluate_has_not_written_is_no_network(tmp_path: Path, text: str) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/network.json").write_text(text)
    ((name, reason),) = own_networks(tmp_path).broken.items()
    assert name == "theirs"
    assert reason.startswith(f"{tmp_path}/theirs/network.json: ")
    assert "\n" not in reason


NETWORK = {
    "model": "torchvision:resnet18", "options": {}, "checkpoint_sha256": "0" * 64, "size": None, "head": "kept",
    "mean": [0, 0.5, 0.5], "std": [1.0, 1.0, 1.0],
}  # fmt: skip


def own_network(folder: Path, **facts: Any) -> OwnNetworks:
    write_json(folder / "theirs/network.json", NETWORK | facts)
    return own_networks(folder)


@pytest.mark.parametrize("key", NETWORK)
def test_a_networks_facts_are_of_their_kinds(tmp_path: Path, key: str) -> None:
    """The view's tags and parameters are made of them, and the report's rows."""
    (network,) = own_network(tmp_path).sound
    facts_of(network)
    for spoiled in (3.5, True, [{}]):
        reason = own_network(tmp_path, **{key: spoiled}).broken["theirs"]
        assert reason.startswith(f"{tmp_path}/theirs/network.json: {key}")
        assert reason.endswith("; evaluate it again by `seal evaluate`")


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("transfer-digits/gen-00.json", {"values": 3}), ("transfer-digits/gen-00.json", {"values": {"paper": 3}}),
        ("transfer-digits/gen-00.json", {"values": {}, "params": [3]}), ("transfer-digits/gen-00.json", [3]),
        ("fewshot-digits/gen-00.json", {"values": {"shots": 3}}),
        ("prediction_depth-digits/gen-00.json", {"values": {"blocks": 3}}),
        ("transfer-digits/gen-00 (copy).json", {"values": {}}), ("transfer-digits/skipped.json", 3),
    ],
)  # fmt: skip
def test_an_own_networks_evaluation_that_is_none_is_broken_and_the_others_are_shown(
    tmp_path: Path, name: str, document: Any
) -> None:
    write_json(tmp_path / "theirs/eval" / name, document)
    write_json(tmp_path / "whole/network.json", NETWORK)
    networks = own_network(tmp_path)
    assert [network.name for network in networks.sound] == ["whole"]
    assert networks.broken["theirs"].startswith(f"{tmp_path}/theirs/eval/{name}: ")


def test_an_evaluation_of_another_version_is_left_alone(tmp_path: Path) -> None:
    network = RunFolder(tmp_path / "theirs", {})
    for file, document in {"gen-00": {"values": {"sharpness": 1.0}}, "gen-01": {"values": 3}, "gen-best": 3}.items():
        write_json(tmp_path / f"theirs/eval/sharpness-digits/{file}.json", document)
    assert [*own_numbers(network)] == []


NUMBERS = [
    "ENOSPC", "EDQUOT", "EACCES", "EPERM", "EROFS", "EIO", "ENOTDIR", "EEXIST", "EISDIR", "ENOTEMPTY", "ENAMETOOLONG",
    "ELOOP", "EFBIG", "ENOENT", "EMFILE", "ENOMEM", "ESTALE",
]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERS)
def test_every_error_of_the_system_is_a_line_that_names_what_was_to_be_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = getattr(errno, name)

    def fails(*arguments: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number), "/tmp/.summary.json.host-1.abc")

    monkeypatch.setattr("seal.files.tempfile.mkstemp", fails)
    with pytest.raises(SystemExit) as caught, one_line_errors():
        write_json(tmp_path / "summary.json", {})
    line = str(caught.value.code)
    assert line.startswith(f"error: {tmp_path}/summary.json: {os.strerror(number)}; ")
    assert "run the same command again" in line


def test_a_write_without_a_name_names_the_file(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic(tmp_path / "x"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemExit, match=f"{tmp_path}/x: No space left"), one_line_errors():
        fill()


@pytest.mark.parametrize("written", ["a file", "a folder", "a rename"])
def test_a_copy_that_fails_names_what_was_to_be_written_and_not_its_source(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "source").write_bytes(bytes(10))
    monkeypatch.setattr("shutil.os.sendfile", full)

    def copies() -> None:
        if written == "a rename":
            (tmp_path / "x").mkdir()
            with atomic(tmp_path / "x"):
                pass
        elif written == "a file":
            with atomic(tmp_path / "x") as temporary:
                shutil.copyfile(tmp_path / "source", temporary)
        else:
            with new_folder(tmp_path / "x") as folder:
                shutil.copyfile(tmp_path / "source", folder / "copy")

    with pytest.raises(SystemExit, match=f"^error: {tmp_path}/x: (No space left|Is a dir)"), one_line_errors():
        copies()


def test_names_lists_and_members_that_are_no_text_or_no_plain_file(tmp_path: Path) -> None:
    (tmp_path / "images/cat").mkdir(parents=True)
    (tmp_path / "images/cat" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    with open_folder([tmp_path / "images"]) as members, pytest.raises(DataError, match="is no name in UTF-8"):
        next(iter(members.values())).read()

    (tmp_path / "list.csv").write_bytes("split,file\ntrain,caf\xe9.png\n".encode("latin-1"))
    refused(lambda: read_list(tmp_path / "list.csv"), "not UTF-8", "save it as UTF-8")
    refused(lambda: read_list(tmp_path / "images"), "found a folder")

    with tarfile.open(tmp_path / "sparse.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("cat/0.png")
        info.type = tarfile.GNUTYPE_SPARSE
        archive.addfile(info)
    with pytest.raises(DataError) as caught, open_archives([tmp_path / "sparse.tar"]):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 and no more", b"\x1f\x8b\x08", b"x" * 5000])
def test_a_damaged_archive_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "images.zip").write_bytes(content)
    words = r"images.zip: damaged, or neither zip nor tar: "
    with pytest.raises(DataError, match=words) as caught, open_archives([tmp_path / "images.zip"]):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"no image", b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_an_image_that_is_none_is_named_without_pythons_words(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^cat/0.png: not an image that can be decoded: ") as caught:
        decode_image("cat/0.png", np.frombuffer(content, np.uint8).tobytes(), 8, Preprocessing())
    assert "object at 0x" not in str(caught.value)


COMMANDS = {
    "seal.train": "torch", "seal.data.fetch": "numpy", "seal.data.packing": "numpy", "seal.curves": "pydantic",
    "eval.transfer": "torch", "eval.hessian": "torch", "eval.claims": "pydantic", "eval.report": "jinja2",
    "seal": "typer", "seal.data.listing": "pydantic", "seal.study.machine": "pydantic",
}  # fmt: skip


WAITS = "import time, pathlib; pathlib.Path('there').touch(); time.sleep(30)"
# What is raised in a weak reference's callback, Python tells of and goes on.
WAITS_IN_CALLBACK = f"""
import weakref

class Gone: ...

def wait(reference): {WAITS}

gone = Gone()
reference = weakref.ref(gone, wait)
del gone
"""


@pytest.mark.parametrize(
    ("module", "code"), [*((module, WAITS) for module in COMMANDS), ("seal.curves", WAITS_IN_CALLBACK)],
    ids=[*COMMANDS, "in a callback"],
)  # fmt: skip
def test_ctrl_c_while_importing_is_one_word(module: str, code: str, tmp_path: Path) -> None:
    slow = tmp_path / COMMANDS[module]
    slow.mkdir()
    (slow / "__init__.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    # A shell's background jobs begin deaf to SIGINT, and so do the tests that run in one.
    command = ["env", "--default-signal=INT", sys.executable, "-m", module]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "there").exists, seconds=60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        words = process.stderr.read()
    assert (process.returncode, words) == (130, "interrupted\n")


def test_a_lock_of_the_database_is_waited_for_and_then_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LONGEST_MIGRATION", 0.1)
    with FileLock(tmp_path / "mlflow.db.lock"):
        refused(lambda: database.open_database(tmp_path), "another process has held mlflow.db.lock", "`seal sync`")


def test_a_database_of_another_program_or_a_newer_schema_is_said(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('of_the_future')")
    connection.close()
    refused(lambda: database.open_database(tmp_path), "mlflow.db: ", "it is only a view")


def test_artifacts_that_are_a_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").touch()
    refused(lambda: database.open_database(tmp_path), "mlartifacts: found a file, expected a folder")


@pytest.mark.parametrize("name", ["transfer-digits@seal-0", "transfer.csv", "", "a b@c", "train@@"])
def test_a_stages_name_of_another_kind_is_no_stages(name: str) -> None:
    assert parts(name).run is None


def test_by_hand_an_evaluation_notes_its_time_under_dvcs_name(project: Path) -> None:
    import yaml

    from eval import transfer
    from tests.small_project import write_params

    params = yaml.safe_load(Path("params.yaml").read_text())
    write_params(transfer=params["transfer"] | {"targets": ["mine"], "epochs": 1})
    transfer.main(["--run", "normal-0", "--target", "mine"])
    assert Path("timings/transfer@normal-0-mine.csv").is_file()
