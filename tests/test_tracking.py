"""What the MLflow view shows of a run, and that `seal sync` makes it equal to the record."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from seal.record import METRIC_COLUMNS, RESULTS, TIMINGS, read_history, read_json, write_csv, write_json
from seal.runs import RunFolder
from seal.timings import TIMING_COLUMNS
from seal.tracking.database import EXPERIMENT
from seal.tracking.finished import FinishedRun, numbers
from seal.tracking.mlflow_view import DIGEST, View, git_tags, run_key
from seal.tracking.server import _environment as server_environment
from seal.tracking.sync import SyncOutcome, stages_of, sync, times_of
from tests.conftest import NewDatabase
from tests.invented_records import evaluation_facts, facts_of, invented_run, write_record
from tests.tracked_project import project as project
from tests.tracked_project import pytestmark as pytestmark
from tests.tracked_project import shared_project as shared_project
from tests.tracked_project import shown, status
from tests.tracked_project import surroundings as surroundings

EMPTY = ("clean_loss_batch_statistics", "clean_accuracy_batch_statistics")  # which the invented records leave out


def test_processes_that_open_a_new_database_at_once_all_find_it_whole(new_database: NewDatabase) -> None:
    assert new_database.openers.stdout.split() == ["0", "0"], new_database.openers.stderr


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

    outcomes = read_json(folder / "summary.json")["outcomes"]
    ends = [(outcome["global_epoch"], outcome["test_accuracy"]) for outcome in outcomes]
    assert view["metrics"]["test_accuracy"] == ends
    assert view["metrics"]["final/test_accuracy"] == [(0, ends[-1][1])]
    assert view["metrics"]["final/best/test_accuracy"] == [(0, 0.39)]
    assert view["params"]["training.learning_rate"] == "0.01"
    assert view["params"]["options.ascent_lr_scale"] == "0.01"
    assert view["info"] == ("seal-1", "FINISHED", "active")
    expected_tags = {"seal.run_key": "smoke/seal-1", "tier": "smoke", "arm": "seal", "method": "seal", "seed": "1"}
    expected_tags |= {"data.sha256": "4b" * 32, DIGEST: FinishedRun.of(RunFolder.read(folder)).digest}
    assert view["tags"] == expected_tags  # no git and no DVC here


def test_a_second_sync_changes_nothing(project: Path) -> None:
    runs = [invented_run("llf", seed) for seed in (0, 1)]
    names = [run.name for run in runs]
    for run in runs:
        write_record(RESULTS, run)
    assert sync(dict.fromkeys([*names, "llf-7"]), RESULTS, TIMINGS) == [
        SyncOutcome("llf-0", "written"), SyncOutcome("llf-1", "written"), SyncOutcome("llf-7", "not recorded"),
    ]  # fmt: skip
    view = View(project)
    before = [view.find(run_key(facts_of(run)))[0].info.run_id for run in runs]
    assert [outcome.status for outcome in sync(dict.fromkeys(names), RESULTS, TIMINGS)] == ["unchanged", "unchanged"]
    assert [view.find(run_key(facts_of(run)))[0].info.run_id for run in runs] == before


def test_the_view_has_the_evaluations_that_are_asked_for(project: Path) -> None:
    run = invented_run("seal", 3)
    folder = write_record(RESULTS, run)
    for target in ("digits", "eurosat"):
        facts = evaluation_facts(folder, f"transfer-{target}", 2) | {"values": {"accuracy": 0.5}}
        write_json(folder / f"eval/transfer-{target}/gen-02.json", facts)

    view, both = View(project), {"final/transfer-digits-gen-02/accuracy", "final/transfer-eurosat-gen-02/accuracy"}
    for asked, expected in ((["transfer-digits"], {min(both)}), (None, both), ((), set[str]())):
        for expected_status in ("written", "unchanged"):
            (outcome,) = sync({run.name: asked}, RESULTS, TIMINGS)
            assert outcome.status == expected_status
        (entry,) = view.find(run_key(facts_of(run)))
        assert both.intersection(entry.data.metrics) == expected


def test_mlflow_counts_nobody(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does its server, whatever the environment had of either."""
    from mlflow.telemetry import utils

    monkeypatch.setattr(utils, "_IS_IN_CI_ENV_OR_TESTING", False)  # of pytest, by which MLflow counts nobody either
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.setenv(name, "false")
    assert not utils.is_telemetry_disabled()
    assert server_environment()["MLFLOW_DISABLE_TELEMETRY"] == "true"
    View(project)
    assert utils.is_telemetry_disabled()


def test_ctrl_c_in_a_query_prints_no_traceback_of_sqlalchemys(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    from sqlalchemy import create_engine

    View(project)
    with create_engine("sqlite://").connect() as connection:
        connection._safe_close_cursor(None)  # type: ignore[arg-type]  # as an interrupted query leaves it
    assert not caplog.records


def test_a_changed_record_replaces_its_run_alone(project: Path) -> None:
    changing, other = invented_run("seal", 2), invented_run("llf", 2)
    write_record(RESULTS, changing)
    write_record(RESULTS, other)
    sync(dict.fromkeys([changing.name, other.name]), RESULTS, TIMINGS)
    view = View(project)
    (old,), (kept,) = view.find("smoke/seal-2"), view.find("smoke/llf-2")
    longer = invented_run("seal", 2, generations=3)
    write_record(RESULTS, longer)
    assert [outcome.status for outcome in sync(dict.fromkeys([longer.name, other.name]), RESULTS, TIMINGS)] == [
        "written",
        "unchanged",
    ]
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
    facts = evaluation_facts(folder, "transfer-digits", 2)
    write_json(folder / "eval/transfer-digits/gen-02.json", facts | {"schema": 1, "values": values})
    assert status(run) == "written"
    finals = {name: points for name, points in shown(View(project), run)["metrics"].items() if "transfer" in name}
    stem = "final/transfer-digits-gen-02"
    assert finals == {f"{stem}/accuracy": [(0, 0.5)], f"{stem}/rates/0.1": [(0, 0.4)]}


def test_a_divergence_is_told(project: Path) -> None:
    run = invented_run("seal", 5)
    write_record(RESULTS, run, diverged={"generation": 2, "epoch": 1, "batch": 3})
    assert status(run) == "written"
    view = shown(View(project), run)
    assert view["tags"]["diverged"] == '{"batch": 3, "epoch": 1, "generation": 2}'
    ends = [name for name in view["metrics"] if name.startswith("final/")]
    assert not ends, "a table would rank an earlier generation as a result"


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
    assert str(*sync({run.name: None}, RESULTS, TIMINGS)).startswith(
        "seal-60: BROKEN: results/seal-60/summary.json: arm: Field required; `dvc checkout`"
    )
    (RESULTS / run.name / "summary.json").write_text("{")
    (outcome,) = sync({run.name: None}, RESULTS, TIMINGS)
    assert outcome.reason.startswith("results/seal-60/summary.json: not JSON")


def test_times_come_from_the_stages_timings(project: Path, tmp_path: Path) -> None:
    run = invented_run("seal", 70)
    folder = write_record(RESULTS, run)
    timing = dict.fromkeys(TIMING_COLUMNS) | {"seconds": "80.00", "date": "2026-01-02T03:04:05+00:00"}
    write_csv(tmp_path / "train@seal-70.csv", TIMING_COLUMNS, [timing | {"date": "2025-01-01T00:00:00+00:00"}, timing])
    end = 1_767_323_045_000
    assert times_of(tmp_path / "train@seal-70.csv", folder, 8) == (end - 80_000, end)
    sync({run.name: None}, RESULTS, tmp_path)
    view = View(project)
    (entry,) = view.find("smoke/seal-70")
    assert (entry.info.start_time, entry.info.end_time) == (end - 80_000, end)
    history = view.client.get_metric_history(entry.info.run_id, "train_loss")
    assert [point.timestamp for point in history] == [end - 80_000 + 10_000 * (index + 1) for index in range(8)]
    start, end = times_of(tmp_path / "none.csv", folder, 8)
    assert end - start == 8000


def test_stages_are_read_from_the_lock(tmp_path: Path) -> None:
    stages: dict[str, Any] = {
        "base@0": {"outs": [{"path": "results/normal-0/summary.json"}]},
        "train_extra@seal-1": {"outs": [{"path": "results/seal-1/summary.json"}]},
        "report": {"cmd": "x"},
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    assert stages_of(tmp_path / "dvc.lock") == {"normal-0": "base@0", "seal-1": "train_extra@seal-1"}
    assert stages_of(tmp_path / "none.lock") == {}


def test_git_tags_name_the_commit_and_whether_files_differ(tmp_path: Path) -> None:
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


no_numbers = st.sampled_from([None, True, "text", [1, 2], float("nan"), float("inf")])
leaves = st.integers(-9, 9) | st.floats(-9, 9) | no_numbers
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

    leaves_found = list(numbers(tree))
    assert len(leaves_found) == count(tree)
    for name, _ in leaves_found:
        _validate_metric_name(name)
