"""What a training sends to the MLflow view while it runs: the same as `seal sync` writes, and never to its harm."""

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from seal.errors import UserError
from seal.record import RESULTS, TIMINGS
from seal.sections import Run
from seal.tracking.live import Tracker, main, write_live
from seal.tracking.mlflow_view import DIGEST, View, run_key
from seal.tracking.sync import sync
from tests.conftest import NewDatabase
from tests.invented_records import facts_of, invented_run, rows_of, write_record
from tests.tracked_project import project as project
from tests.tracked_project import pytestmark as pytestmark
from tests.tracked_project import shared_project as shared_project
from tests.tracked_project import shown, status
from tests.tracked_project import surroundings as surroundings
from tests.waiting import wait_until

PYTHONPATH = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
KILLED = invented_run("seal", 36)
KILL_ITSELF = """if True:
    import os, signal
    from invented_records import facts_of, invented_run, rows_of
    from seal.tracking.live import Tracker
    run = invented_run("seal", 36)
    with Tracker(run, facts_of(run), rows_of(run)[:1]) as tracker:
        tracker.on_epoch(rows_of(run)[1])
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed_training(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project in which a training killed itself; what it started may still write the view."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copy(new_database.path, folder)
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    training = subprocess.run([sys.executable, "-c", KILL_ITSELF], cwd=folder, env=environment, check=False)
    assert training.returncode == -signal.SIGKILL
    return folder


def sent(tracker: Tracker) -> list[dict[str, Any]]:
    """Collects what a tracker sends, in place of the process that would write it."""
    messages: list[dict[str, Any]] = []
    tracker._send = lambda message: messages.append(json.loads(json.dumps(message)))  # type: ignore[method-assign]
    return messages


def train_live(run: Run, monkeypatch: pytest.MonkeyPatch, done: int = 0) -> Path:
    """What the trainer does: rows that are there, rows as they come, the record, the end. Written by this process."""
    rows, tracker = rows_of(run), Tracker(run, facts_of(run), rows_of(run)[:done])
    messages = sent(tracker)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *_, **__: None)
        with tracker:
            for row in rows[done:]:
                tracker.on_epoch(row)
            folder = write_record(RESULTS, run)
            tracker.finish(folder)

    write_live(iter(messages))
    return folder


def ended(tracker: Tracker) -> int:
    assert tracker.writer is not None
    return tracker.writer.wait(120)


@pytest.mark.parametrize("done", [0, 3])
def test_live_and_synced_runs_are_equal(project: Path, monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    run = invented_run("seal", 10 + done)
    stage = f"train@{run.name}"
    monkeypatch.setenv("DVC_STAGE", stage)
    lock = {"schema": "2.0", "stages": {stage: {"outs": [{"path": f"results/{run.name}/summary.json"}]}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))

    train_live(run, monkeypatch, done)
    view = View(project)
    live = shown(view, run)
    assert live["tags"]["dvc.stage"] == stage
    assert status(run) == "unchanged"

    view.remove(view.find(run_key(facts_of(run))))
    monkeypatch.delenv("DVC_STAGE")
    assert status(run) == "written"
    assert shown(view, run) == live
    (project / "dvc.lock").unlink()


def test_generations_beyond_those_asked_for_are_not_shown() -> None:
    longer, run = invented_run("llf", generations=3), invented_run("llf")
    assert Tracker(run, facts_of(run), rows_of(longer)).rows == rows_of(run)


@pytest.mark.parametrize(
    ("word", "expected"), [({"status": "FAILED"}, "FAILED"), ({"status": "KILLED"}, "KILLED"), (None, "KILLED")]
)
def test_a_broken_off_training_says_so(
    project: Path, monkeypatch: pytest.MonkeyPatch, word: dict[str, Any] | None, expected: str
) -> None:
    run = invented_run("seal", 30)
    rows = rows_of(run)
    first = {"facts": facts_of(run), "rows": rows[:2], "stage": None, "time": 1}
    write_live(iter([first, {"row": rows[2], "time": 2}] + ([word] if word else [])))
    view = shown(View(project), run)
    assert view["info"][1] == expected
    assert view["metrics"]["epoch"] == [(0, 0), (1, 1), (2, 2)]
    assert DIGEST not in view["tags"]

    train_live(run, monkeypatch)  # going on takes its place
    assert shown(View(project), run)["info"][1] == "FINISHED"


@pytest.mark.parametrize(("kind", "expected"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_an_exception_passes_and_is_told(kind: type[BaseException], expected: str) -> None:
    run = invented_run("seal")
    tracker = Tracker(run, facts_of(run), [], enabled=False)
    messages = sent(tracker)

    def train() -> None:
        with tracker:
            raise kind

    with pytest.raises(kind):
        train()
    assert messages == [{"status": expected}]


@pytest.mark.usefixtures("killed_training")  # both import MLflow meanwhile
def test_the_real_process_writes_what_it_is_sent(project: Path) -> None:
    run = invented_run("seal", 35)
    rows = rows_of(run)
    with Tracker(run, facts_of(run), rows[:1]) as tracker:
        assert tracker.writer is not None
        tracker.writer.send_signal(signal.SIGSTOP)  # as if it imported MLflow until the training's end
        for row in rows[1:]:
            tracker.on_epoch(row)
        tracker.finish(write_record(RESULTS, run))
    tracker.writer.send_signal(signal.SIGCONT)
    assert ended(tracker) == 0
    assert status(run) == "unchanged"


def test_a_training_that_is_killed_is_marked(killed_training: Path) -> None:
    view = View(killed_training)

    def is_marked() -> bool:
        runs = view.find(run_key(facts_of(KILLED)))
        return bool(runs) and runs[0].info.status != "RUNNING"

    wait_until(is_marked, seconds=120)
    view_of_it = shown(view, KILLED)
    assert view_of_it["info"][1] == "KILLED"
    assert view_of_it["metrics"]["epoch"] == [(0, 0), (1, 1)]


def written_by_the_process(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process of a Tracker does with what came through the pipe before its end."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "nice", lambda by: 0)
        patch.setattr(sys, "stdin", io.StringIO(text))
        main()


@pytest.mark.parametrize("text", ["", '{"facts": {"run": "seal-0"'])
def test_a_training_that_is_killed_before_its_first_message_is_whole_leaves_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    view = View(project)

    def runs() -> list[str]:
        return [run.info.run_id for run in view.client.search_runs([view.experiment_id])]

    before = runs()
    written_by_the_process(text, monkeypatch)
    assert runs() == before
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("seed", "shown_of_it"), [(50, 0.5), (51, 1.0)])
def test_a_training_that_is_killed_in_the_middle_of_a_line_is_marked(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], seed: int, shown_of_it: float
) -> None:
    run = invented_run("seal", seed)
    first = {"facts": facts_of(run), "rows": rows_of(run)[:1], "stage": None, "time": 1}
    whole = [json.dumps(message) + "\n" for message in (first, {"row": rows_of(run)[1], "time": 2})]
    cut = json.dumps({"finished": {"digest": "0" * 100_000}, "time": 3})
    written_by_the_process("".join([*whole, cut[: int(len(cut) * shown_of_it)]]), monkeypatch)

    view = shown(View(project), run)
    assert view["info"][1] == "KILLED"
    assert view["metrics"]["epoch"] == [(0, 0), (1, 1)]
    assert capfd.readouterr().err == ""


def test_a_damaged_database_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 1000)
    run = invented_run("seal")
    with Tracker(run, facts_of(run), []) as tracker:
        ended(tracker)
        for row in rows_of(run):
            tracker.on_epoch(row)  # nobody reads the pipe any more
        tracker.finish(write_record(RESULTS, run))

    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"warning: {run.name} in MLflow: mlflow.db: file is not a database; ")
    with pytest.raises(UserError, match=r"^mlflow\.db: file is not a database; .*delete it"):
        sync({run.name: None}, RESULTS, TIMINGS)


def test_a_locked_database_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seal.tracking.database.PATIENCE", 0.2)
    other = sqlite3.connect(tmp_path / "mlflow.db")
    other.execute("CREATE TABLE held (x)")
    other.commit()
    other.execute("BEGIN EXCLUSIVE")
    train_live(invented_run("seal"), monkeypatch)
    other.close()

    (line,) = capsys.readouterr().err.splitlines()
    assert "database is locked" in line


def test_no_process_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    run = invented_run("seal")
    with Tracker(run, facts_of(run), []) as tracker:
        tracker.on_epoch(rows_of(run)[0])
        tracker.finish(write_record(RESULTS, run))

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: seal-0 in MLflow: [Errno 2] No such file")


def test_a_failure_in_mid_run_is_one_warning_and_mended_by_sync(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, whole = invented_run("seal", 40), View.log_rows

    def breaks(self: View, run_id: str, rows: list[Any], times: list[int]) -> None:
        if rows and rows[-1]["global_epoch"] == 4:
            raise OSError("disk full\nand more")
        whole(self, run_id, rows, times)

    with monkeypatch.context() as patch:
        patch.setattr(View, "log_rows", breaks)
        train_live(run, monkeypatch)

    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: seal-40 in MLflow: disk full. Training goes on; `seal sync` mends the view"
    assert shown(View(project), run)["info"][1] == "FAILED"
    assert status(run) == "written"
    assert shown(View(project), run)["info"][1] == "FINISHED"


def test_without_tracking_mlflow_is_not_imported(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from invented_records import facts_of, invented_run
        from seal.tracking.live import Tracker
        run = invented_run("seal")
        with Tracker(run, facts_of(run), [], enabled=False) as tracker:
            tracker.on_epoch({})
            tracker.finish(None)
        assert tracker.writer is None
        sys.exit("mlflow" in sys.modules)
    """
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert not (tmp_path / "mlflow.db").exists()
