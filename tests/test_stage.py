"""What stands around every stage: its row of timings, its last line, and that it ends with DVC."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seal.errors import UserError
from seal.stage import dataset_stage, stage
from tests.small_project import write_params
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    return tmp_path


def timings(name: str) -> list[dict[str, str]]:
    with (Path("timings") / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_good_end_adds_a_row_under_dvcs_name_of_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        with stage("transfer-digits@seal-0") as timing:
            timing.done, timing.unit, timing.backend = 30, "epochs", "batched"
            time.sleep(0.1)
    first, second = timings("transfer-digits@seal-0")
    assert (first["stage"], first["unit"], first["backend"]) == ("transfer-digits@seal-0", "epochs", "batched")
    assert float(second["rate"]) == pytest.approx(30 / float(second["seconds"]), rel=0.1)

    monkeypatch.setenv("DVC_STAGE", "transfer@seal-0-digits")
    with stage("transfer-digits@seal-0") as timing:
        timing.done, timing.rate, timing.unit = 30, 7.0, "images"
    (row,) = timings("transfer@seal-0-digits")
    assert (row["rate"], row["unit"]) == ("7.0", "images")


def test_a_stage_that_did_no_work_has_no_rate() -> None:
    with stage("curves"):
        pass
    assert timings("curves")[0]["rate"] == ""


def test_no_row_where_it_is_no_stage_or_ends_badly(capsys: pytest.CaptureFixture[str]) -> None:
    with stage("claims", timed=False):
        pass
    with pytest.raises(SystemExit, match=r"^error: x: found 1, expected 2$"), stage("claims"):
        raise UserError("x: found 1, expected 2")
    with pytest.raises(SystemExit, match=r"^pack@digits: x$"), stage("pack@digits", prefix="pack@digits"):
        raise UserError("x")
    with pytest.raises(ZeroDivisionError), stage("claims"):
        raise ZeroDivisionError
    for prefix, words in (
        ("error", "interrupted: it goes on\n"),
        ("pack@digits", "pack@digits: interrupted: it goes on\n"),
    ):
        with pytest.raises(SystemExit) as caught, stage("claims", prefix=prefix, resumes="it goes on"):
            raise KeyboardInterrupt
        assert (caught.value.code, capsys.readouterr().err) == (130, words)
    assert not Path("timings").exists()


@pytest.mark.parametrize(("done", "unit"), [(0, ""), (40, "bytes")])
def test_a_datasets_stage_says_how_much_was_done_where_something_was(done: int, unit: str) -> None:
    write_params()
    with dataset_stage("fetch", "bytes", ["mine"]) as (name, dataset, report):
        report(0, 40)
        report(done, 40)
    assert (name, dataset.source) == ("mine", "folder")
    (row,) = timings("fetch@mine")
    assert row["unit"] == unit
    assert bool(row["rate"]) == bool(done)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-m', sys.argv[1], '--run', 'seal-0'])"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc")
@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("seal.train", "torch"), ("eval.hessian", "torch"), ("eval.transfer", "torch"), ("seal.data.fetch", "numpy"),
        ("seal.data.packing", "numpy"), ("eval.claims", "pydantic"), ("eval.report", "jinja2"),
        ("seal.curves", "pydantic"),
    ],
)  # fmt: skip
def test_a_stage_whose_dvc_is_killed_while_it_imports_does_not_live_on(module: str, slow: str, folder: Path) -> None:
    (folder / slow).mkdir()
    slow_import = "import os, time, pathlib; pathlib.Path('pid').write_text(f'{os.getpid()}.'); time.sleep(60)"
    (folder / slow / "__init__.py").write_text(slow_import)
    environment = os.environ | {"DVC_STAGE": "a stage", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    parent = subprocess.Popen([sys.executable, "-c", PARENT, module], cwd=folder, env=environment)
    try:
        wait_until(lambda: Path("pid").exists() and Path("pid").read_text().endswith("."))
        trainer = int(Path("pid").read_text().rstrip("."))
        assert lives(trainer)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not lives(trainer), seconds=5)
