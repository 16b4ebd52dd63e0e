"""The MLflow view: what live tracking and `seal sync` write, that both write the same, and that neither can do harm."""

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from invented_records import facts_of, invented_run, rows_of, write_record

import seal
from seal.config import Run
from seal.errors import UserError
from seal.record import (
    METRIC_COLUMNS,
    RESULTS,
    TIMING_COLUMNS,
    TIMINGS,
    read_history,
    run_digest,
    write_csv,
    write_json,
)
from seal.tracking.live import Tracker, write_live
from seal.tracking.mlflow_view import DIGEST, EXPERIMENT, View, numbers, run_key
from seal.tracking.server import serve
from seal.tracking.sync import SyncOutcome, stages_of, sync, times_of

# MLflow's own use of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")

PYTHONPATH = os.pathsep.join(map(str, (Path(__file__).parent, Path(__file__).parents[1])))
EMPTY = (
    "clean_loss_batch_statistics",
    "clean_accuracy_batch_statistics",
)  # columns that the invented records leave out


@pytest.fixture(scope="module")
def shared_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One database for the module: a new one takes seconds. The name holds a space on purpose."""
    return tmp_path_factory.mktemp("a project")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another MLflow server in the environment must not matter."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    monkeypatch.delenv("DVC_STAGE", raising=False)


@pytest.fixture
def project(shared_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.chdir(shared_project)
    yield shared_project
    assert not (tmp_path / "elsewhere.db").exists()
    shutil.rmtree(RESULTS, ignore_errors=True)


def shown(view: View, run: Run) -> dict[str, Any]:
    """All that the view holds of a run, but for times, MLflow's identifiers and its own tags."""
    (found,) = view.find(run_key(facts_of(run)))
    histories = {
        name: sorted((point.step, point.value) for point in view.client.get_metric_history(found.info.run_id, name))
        for name in found.data.metrics
    }
    tags = {name: value for name, value in found.data.tags.items() if not name.startswith("mlflow.")}
    info = (found.info.run_name, found.info.status, found.info.lifecycle_stage)
    return {"info": info, "params": found.data.params, "tags": tags, "metrics": histories}


def status(run: Run) -> str:
    (outcome,) = sync([run.name], RESULTS, TIMINGS)
    assert outcome.run == run.name
    return outcome.status


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
    return tracker.writer.wait(60)


def test_sync_shows_every_number_of_the_record(project: Path) -> None:
    run = invented_run("seal", 1)
    folder = write_record(RESULTS, run)
    assert status(run) == "written"
    view = shown(View(project), run)
    rows = read_history(folder / "history.csv")
    for name in ("generation", "epoch", *METRIC_COLUMNS):
        expected = [(row["global_epoch"], row[name]) for row in rows if row[name] is not None]
        assert view["metrics"].get(name, []) == expected
        assert bool(expected) == (name not in EMPTY)
    assert view["metrics"]["test_accuracy"] == [
        (row["global_epoch"], row["val_accuracy"]) for row in rows if row["epoch"] == 3
    ]
    assert view["metrics"]["final/test_accuracy"] == [(0, rows[-1]["val_accuracy"])]
    assert view["metrics"]["final/best/test_accuracy"] == [(0, 0.39)]
    assert view["params"]["training.learning_rate"] == "0.01"
    assert view["params"]["options.ascent_lr_scale"] == "0.01"
    assert view["info"] == ("seal-1", "FINISHED", "active")
    expected_tags = {"seal.run_key": "smoke/seal-1", "tier": "smoke", "arm": "seal", "method": "seal", "seed": "1"}
    expected_tags |= {"data.sha256": "4b" * 32, DIGEST: run_digest(folder)}
    assert view["tags"] == expected_tags  # no git and no DVC here


def test_a_second_sync_changes_nothing(project: Path) -> None:
    runs = [invented_run("llf", seed) for seed in (0, 1)]
    names = [run.name for run in runs]
    for run in runs:
        write_record(RESULTS, run)
    assert sync([*names, "llf-7"], RESULTS, TIMINGS) == [
        SyncOutcome("llf-0", "written"), SyncOutcome("llf-1", "written"), SyncOutcome("llf-7", "not recorded"),
    ]  # fmt: skip
    view = View(project)
    before = [view.find(run_key(facts_of(run)))[0].info.run_id for run in runs]
    assert [outcome.status for outcome in sync(names, RESULTS, TIMINGS)] == ["unchanged", "unchanged"]
    assert [view.find(run_key(facts_of(run)))[0].info.run_id for run in runs] == before


def test_a_changed_record_replaces_its_run_alone(project: Path) -> None:
    changing, other = invented_run("seal", 2), invented_run("llf", 2)
    write_record(RESULTS, changing)
    write_record(RESULTS, other)
    sync([changing.name, other.name], RESULTS, TIMINGS)
    view = View(project)
    (old,), (kept,) = view.find("smoke/seal-2"), view.find("smoke/llf-2")
    longer = invented_run("seal", 2, generations=3)
    write_record(RESULTS, longer)
    assert [outcome.status for outcome in sync([longer.name, other.name], RESULTS, TIMINGS)] == ["written", "unchanged"]
    assert shown(view, longer)["metrics"]["generation"][-1] == (11, 3)
    assert view.find("smoke/seal-2")[0].info.run_id != old.info.run_id
    assert view.find("smoke/llf-2")[0].info.run_id == kept.info.run_id
    assert not (project / "mlartifacts" / EXPERIMENT / old.info.run_id).exists()


def test_another_tier_keeps_its_runs(project: Path) -> None:
    smoke = invented_run("seal", 3)
    mini = smoke.model_copy(update={"tier": "mini"})
    for run in (smoke, mini):
        write_record(RESULTS, run)
        assert status(run) == "written"
    assert shown(View(project), smoke)["tags"]["tier"] == "smoke"
    assert shown(View(project), mini)["tags"]["tier"] == "mini"


def test_a_new_evaluation_shows_its_values(project: Path) -> None:
    run = invented_run("seal", 4)
    folder = write_record(RESULTS, run)
    assert status(run) == "written"
    values = {"accuracy": 0.5, "rates": {"0.1": 0.4}, "eigenvalues": [1.0, 2.0], "converged": True, "note": None}
    write_json(folder / "eval/transfer-digits/gen-02.json", {"schema": 1, "values": values})
    assert status(run) == "written"
    finals = {name: points for name, points in shown(View(project), run)["metrics"].items() if "transfer" in name}
    stem = "final/transfer-digits-gen-02"
    assert finals == {f"{stem}/accuracy": [(0, 0.5)], f"{stem}/rates/0.1": [(0, 0.4)]}


def test_a_divergence_is_told(project: Path) -> None:
    run = invented_run("seal", 5)
    write_record(RESULTS, run, diverged={"generation": 2, "epoch": 1, "batch": 3})
    assert status(run) == "written"
    found = shown(View(project), run)
    assert found["tags"]["diverged"] == '{"batch": 3, "epoch": 1, "generation": 2}'
    ends = [name for name in found["metrics"] if name.startswith("final/")]
    assert not ends, "a table would rank an earlier generation as a result"


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


def test_the_real_process_writes_what_it_is_sent(project: Path) -> None:
    run = invented_run("seal", 35)
    rows = rows_of(run)
    began = time.perf_counter()
    with Tracker(run, facts_of(run), rows[:1]) as tracker:
        for row in rows[1:]:
            tracker.on_epoch(row)
        tracker.finish(write_record(RESULTS, run))
    assert time.perf_counter() - began < 2  # less than an import of MLflow takes
    assert ended(tracker) == 0
    assert status(run) == "unchanged"


def test_processes_that_open_a_new_database_at_once_all_find_it_whole(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from pathlib import Path; from seal.tracking.mlflow_view import View; View(Path.cwd())",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(seal.__file__).parents[1])}
    openers = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for opener in openers:
        _, words = opener.communicate(timeout=120)
        assert opener.returncode == 0, words


def test_a_training_that_is_killed_is_marked(project: Path) -> None:
    run = invented_run("seal", 36)
    code = """if True:
        import os, signal
        from invented_records import facts_of, invented_run, rows_of
        from seal.tracking.live import Tracker
        run = invented_run("seal", 36)
        with Tracker(run, facts_of(run), rows_of(run)[:1]) as tracker:
            tracker.on_epoch(rows_of(run)[1])
            os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": PYTHONPATH}, check=False)
    assert killed.returncode == -signal.SIGKILL
    view, found = View(project), []
    for _ in range(300):
        found = view.find(run_key(facts_of(run)))
        if found and found[0].info.status != "RUNNING":
            break
        time.sleep(0.1)
    view_of_it = shown(view, run)
    assert view_of_it["info"][1] == "KILLED"
    assert view_of_it["metrics"]["epoch"] == [(0, 0), (1, 1)]


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
        sync([run.name], RESULTS, TIMINGS)


def test_a_locked_database_is_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
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


def test_a_deleted_experiment_comes_back_with_one_run_a_key(project: Path) -> None:
    run = invented_run("normal", 50)
    write_record(RESULTS, run)
    assert status(run) == "written"
    view = View(project)
    (first,) = view.find("smoke/normal-50")
    view.remove([first])
    assert status(run) == "written"
    view.client.delete_experiment(view.experiment_id)  # restoring it also revives the run deleted before
    assert status(run) == "unchanged"
    assert len(view.find("smoke/normal-50")) == 1


def test_a_record_of_another_version_is_named(project: Path) -> None:
    run = invented_run("seal", 60)
    write_json(write_record(RESULTS, run) / "summary.json", {"tier": "smoke", "run": run.name})
    with pytest.raises(UserError, match=r"^results/seal-60: not a record of this version .*dvc checkout"):
        sync([run.name], RESULTS, TIMINGS)
    (RESULTS / run.name / "summary.json").write_text("{")
    with pytest.raises(UserError, match=r"^results/seal-60: not a record"):
        sync([run.name], RESULTS, TIMINGS)


def test_times_come_from_the_stages_timings(project: Path, tmp_path: Path) -> None:
    run = invented_run("seal", 70)
    folder = write_record(RESULTS, run)
    timing = dict.fromkeys(TIMING_COLUMNS) | {"seconds": "80.00", "date": "2026-01-02T03:04:05+00:00"}
    write_csv(tmp_path / "train@seal-70.csv", TIMING_COLUMNS, [timing | {"date": "2025-01-01T00:00:00+00:00"}, timing])
    end = 1_767_323_045_000
    assert times_of(tmp_path / "train@seal-70.csv", folder, 8) == (end - 80_000, end)
    sync([run.name], RESULTS, tmp_path)
    view = View(project)
    (found,) = view.find("smoke/seal-70")
    assert (found.info.start_time, found.info.end_time) == (end - 80_000, end)
    history = view.client.get_metric_history(found.info.run_id, "train_loss")
    assert [point.timestamp for point in history] == [end - 80_000 + 10_000 * (index + 1) for index in range(8)]
    start, end = times_of(tmp_path / "none.csv", folder, 8)
    assert end - start == 8000


def test_stages_are_read_from_the_lock(tmp_path: Path) -> None:
    outs = {"base@0": "results/normal-0/summary.json", "train_extra@seal-1": "results/seal-1/summary.json"}
    stages: dict[str, Any] = {stage: {"outs": [{"path": path}]} for stage, path in outs.items()} | {
        "report": {"cmd": "x"}
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    assert stages_of(tmp_path / "dvc.lock") == {"normal-0": "base@0", "seal-1": "train_extra@seal-1"}
    assert stages_of(tmp_path / "none.lock") == {}


def test_git_tags_name_the_commit_and_whether_files_differ(tmp_path: Path) -> None:
    from seal.tracking.mlflow_view import git_tags

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert git_tags(tmp_path) == {}
    git("init", "-q")
    for name in ("params.yaml", "dvc.lock"):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    (tmp_path / "dvc.lock").write_text("2")
    (tmp_path / "untracked").write_text("2")
    assert git_tags(tmp_path) == {"git.commit": git("rev-parse", "HEAD"), "git.dirty": "false"}
    (tmp_path / "params.yaml").write_text("2")
    assert git_tags(tmp_path)["git.dirty"] == "true"
    (tmp_path / "unpacked").mkdir()
    assert git_tags(tmp_path / "unpacked") == {}


leaves = (
    st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from([None, True, "text", [1, 2], float("nan"), float("inf")])
)
keys = st.from_regex(r"[a-z][a-z0-9 ,+@%=()_.-]{0,8}[a-z]", fullmatch=True)


@given(
    st.recursive(
        st.dictionaries(keys, leaves, max_size=4), lambda tree: st.dictionaries(keys, tree | leaves, max_size=4)
    )
)
def test_numbers_are_the_trees_finite_numeric_leaves_under_names_that_mlflow_takes(tree: dict[str, Any]) -> None:
    from mlflow.utils.validation import _validate_metric_name

    def count(node: Any) -> int:
        if isinstance(node, dict):
            return sum(count(value) for value in node.values())
        return type(node) in (int, float) and abs(node) < float("inf")

    found = list(numbers(tree))
    assert len(found) == count(tree)
    for name, _ in found:
        _validate_metric_name(name)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_taken_port_is_one_line(project: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"^port {port} of 127.0.0.1: Address already in use; choose another"):
            serve(port)


@pytest.mark.slow
def test_artifacts_survive_moving_the_folder_and_the_server_ends_whole(project: Path, tmp_path: Path) -> None:
    run = invented_run("seal", 80)
    folder = write_record(RESULTS, run)
    assert status(run) == "written"
    (found,) = View(project).find("smoke/seal-80")
    moved, port = tmp_path / "moved here", free_port()
    shutil.copytree(project, moved)
    shutil.rmtree(project / "mlartifacts")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += f"from seal.tracking.server import serve; serve({port}, '0.0.0.0')"
    command = [sys.executable, "-c", code]  # as in a container
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    server = subprocess.Popen(command, cwd=moved, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        assert f"http://localhost:{port}/#/experiments/" in server.stdout.readline()
        assert processes_with(port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for name in ("history.csv", "summary.json"):
            connection.request("GET", f"/get-artifact?run_uuid={found.info.run_id}&path={name}")
            assert connection.getresponse().read() == (folder / name).read_bytes()
        # Docker may publish it at another port; a name that its owner points here (DNS rebinding) is not answered.
        for name, expected in (("localhost:8080", 200), ("rebinding.example", 403), ("10.example:5000", 403)):
            connection.request("GET", "/", headers={"Host": name})
            reply = connection.getresponse()
            reply.read()
            assert reply.status == expected, name
        connection.close()
    finally:
        server.send_signal(signal.SIGINT)
        said, _ = server.communicate(timeout=30)
    assert said.splitlines()[-1] == "MLflow's server ended"
    assert server.returncode == 0
    assert not processes_with(port)


def processes_with(port: int) -> list[str]:
    """Command lines of the live processes that were told this port."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        if "--port" in words and str(port) in words:
            lines.append(" ".join(words))
    return lines
