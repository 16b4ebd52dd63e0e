"""What was good stays: refusals, full disks, links into a cache, and what killed processes leave behind."""

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from eval import prediction_depth
from seal import publish
from seal.config import load_params
from seal.files import atomic, new_folder, put_in_place
from seal.record import write_csv, write_json
from seal.runs import Runs
from seal.train import run_stage
from tests.small import contents
from tests.small_project import write_params

DEPTH = Path("results/normal-0/eval/prediction_depth")
SEAL = Path("results/seal-0")


def evaluate() -> None:
    prediction_depth.main(["--run", "normal-0"])


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.fixture
def evaluated(project: Path) -> dict[str, bytes]:
    evaluate()
    return contents(DEPTH)


MINE = {"source": "folder", "path": "images", "image_size": 8, "split": {"test": 0.5, "val": 0.25}}
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "a split": ({"datasets": {"mine": MINE}}, r"packed with another split"),
    "generations": ({"prediction_depth": {"generations": [7]}}, r"generation"),
    "a device": ({"runtime": {"device": "gpu", "track": False}}, r"runtime\.device"),
    "neighbours": ({"prediction_depth": {"neighbours": 1000}}, r"neighbours"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_evaluation_leaves_the_last_result(evaluated: dict[str, bytes], refusal: str) -> None:
    changes, words = REFUSALS[refusal]
    write_params(**changes)
    with pytest.raises(SystemExit, match=rf"^error: .*{words}"):
        evaluate()
    assert contents(DEPTH) == evaluated
    assert [path.name for path in DEPTH.parent.iterdir()] == [DEPTH.name], "and no litter"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device", "x")])
def test_one_that_ends_in_the_middle_leaves_it_too(
    evaluated: dict[str, bytes], error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("eval.evaluation.write_json", ends)
    with pytest.raises(SystemExit):
        evaluate()
    assert contents(DEPTH) == evaluated
    assert [path.name for path in DEPTH.parent.iterdir()] == [DEPTH.name]


def test_under_dvc_which_deletes_first_the_line_brings_the_last_one_back(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dvc(*arguments: str) -> None:
        command = [sys.executable, "-m", "dvc", *arguments]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"DVC_NO_ANALYTICS": "1"})

    evaluate()
    before = contents(DEPTH)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    stage = {"cmd": "true", "deps": ["params.yaml"], "outs": [str(DEPTH)]}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": {"prediction_depth": stage}}))
    dvc("commit", "--force")

    subprocess.run(["rm", "-r", str(DEPTH)], check=True)  # as DVC does before a stage
    monkeypatch.setenv("DVC_STAGE", "prediction_depth")
    write_params(prediction_depth={"generations": [7]})
    with pytest.raises(SystemExit, match=f"`(dvc checkout {DEPTH})` brings the last result back") as caught:
        evaluate()
    _, *arguments = str(caught.value).partition("`dvc ")[2].partition("`")[0].split()
    dvc("checkout", *arguments)
    assert contents(DEPTH) == before


@pytest.mark.parametrize("writer", ["write_csv", "write_json", "put_in_place"])
def test_publishing_on_a_full_disk_changes_nothing(project: Path, writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_stage("seal-0", load_params())
    before = contents(SEAL)
    calls = []

    def full(*arguments: Any) -> None:
        calls.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device", str(arguments[0]))

    if writer == "put_in_place":
        monkeypatch.setattr(publish.shutil, "copyfile", full)
    else:
        monkeypatch.setattr(publish, writer, full)
    with pytest.raises(OSError, match="No space left"):
        run_stage("seal-0", load_params())
    assert calls
    assert contents(SEAL) == before


def test_nothing_is_written_through_a_link_into_a_cache(project: Path) -> None:
    run_stage("seal-0", load_params())
    cache = project / "cache"
    cache.mkdir()
    for name in ("normal-0", "seal-0"):
        for number, path in enumerate(sorted((project / "results" / name).rglob("*.*"))):
            if path.is_file():
                kept = cache / f"{name}-{number}-{path.name}"
                path.rename(kept)
                os.link(kept, path) if number % 2 else path.symlink_to(kept)
    before = contents(cache)
    for name in ("normal-0", "seal-0"):
        write_params(training={"learning_rate": 0.04})
        run_stage(name, load_params())
    assert contents(cache) == before
    assert Runs.read([project / "results"]).broken == {}


def owner(pid: int, machine: str = "") -> str:
    return f"{machine or platform.node()}-{pid}"


def test_litter_of_processes_that_are_no_more_goes_with_the_next_run(tmp_path: Path) -> None:
    mine, dead = owner(os.getpid()), owner(dead_process())
    for name in (f".history.csv.{dead}.abc", f".history.csv.{mine}.abc", f".history.csv.{owner(1, 'other')}.abc"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".record.{dead}.abc").mkdir()
    (tmp_path / f".record.{dead}.abc/weights").write_text("half")
    (tmp_path / ".other.csv.abc").write_text("another's")
    write_csv(tmp_path / "history.csv", ["a"], [{"a": 1}])
    with new_folder(tmp_path / "record"):
        pass
    kept = {".other.csv.abc", f".history.csv.{mine}.abc", f".history.csv.{owner(1, 'other')}.abc", "history.csv"}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("is_there", [False, True])
def test_litter_of_a_kill_between_two_renames_goes(kind: str, is_there: bool, tmp_path: Path) -> None:
    left, living = (tmp_path / f".weights.{owner(pid)}.abc" for pid in (dead_process(), os.getpid()))
    for folder in (left, living):
        (folder / "weights").mkdir(parents=True)
    for name in ("made", *(["weights"] if is_there else [])):
        (tmp_path / name).mkdir() if kind == "folder" else (tmp_path / name).write_text(name)

    put_in_place(tmp_path / "made", tmp_path / "weights")
    assert {path.name for path in tmp_path.iterdir()} == {"weights", living.name}


def test_a_run_that_is_published_again_takes_the_litter_of_its_parts(project: Path) -> None:
    left = [SEAL / f".{name}.{owner(dead_process())}.abc" for name in ("weights", "predictions")]
    for folder in left:
        (folder / "weights").mkdir(parents=True)
    run_stage("seal-0", load_params())
    assert not any(folder.exists() for folder in left)
    assert (SEAL / "weights").is_dir()


@pytest.mark.parametrize("name", ["swp", "bak", "orig-2", "old", owner(1).replace("-1", "-a"), platform.node()])
def test_what_an_editor_or_a_user_has_laid_beside_stays(name: str, tmp_path: Path) -> None:
    (tmp_path / f".params.yaml.{name}").write_text("mine")
    (tmp_path / f".report.{name}").mkdir()
    write_json(tmp_path / "params.yaml", {})
    with new_folder(tmp_path / "report"):
        pass
    assert (tmp_path / f".params.yaml.{name}").read_text() == "mine"
    assert (tmp_path / f".report.{name}").is_dir()


def test_an_evaluations_litter_is_no_result_and_goes(evaluated: dict[str, bytes]) -> None:
    left = DEPTH.with_name(f".{DEPTH.name}.{owner(dead_process())}.abc")
    left.mkdir()
    write_json(left / "gen-01.json", {"half": True})
    assert Runs.read([Path("results")]).broken == {}
    evaluate()
    assert not left.exists()
    assert contents(DEPTH) == evaluated


def test_a_name_is_replaced_whole_whatever_it_was(tmp_path: Path) -> None:
    for number, old in enumerate(("nothing", "a file", "a folder", "a link")):
        target = tmp_path / f"target-{number}"
        if old == "a file":
            target.write_text("old")
        if old == "a folder":
            (target / "deep").mkdir(parents=True)
        if old == "a link":
            (tmp_path / "elsewhere").write_text("kept")
            target.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "new").write_text("new")
        put_in_place(tmp_path / "new", target)
        assert target.read_text() == "new"
        assert not target.is_symlink()
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_a_write_that_fails_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def fail() -> None:
        with atomic(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert contents(tmp_path) == {"x": b"old"}
