"""A project with an MLflow database of its own, one for a module, and what its view shows of a run."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seal.record import RESULTS, TIMINGS
from seal.sections import Run
from seal.tracking.mlflow_view import View, run_key
from seal.tracking.sync import sync
from tests.conftest import NewDatabase
from tests.invented_records import facts_of

pytestmark = pytest.mark.xdist_group("mlflow")  # one import of it, one new database


@pytest.fixture(scope="module")
def shared_project(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for a module. Its name holds a space on purpose."""
    folder = tmp_path_factory.mktemp("a project")
    shutil.copy(new_database.path, folder)
    return folder


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
    (entry,) = view.find(run_key(facts_of(run)))
    histories = {}
    for name in entry.data.metrics:
        points = view.client.get_metric_history(entry.info.run_id, name)
        histories[name] = sorted((point.step, point.value) for point in points)

    tags = {name: value for name, value in entry.data.tags.items() if not name.startswith("mlflow.")}
    info = (entry.info.run_name, entry.info.status, entry.info.lifecycle_stage)
    return {"info": info, "params": entry.data.params, "tags": tags, "metrics": histories}


def status(run: Run) -> str:
    (outcome,) = sync({run.name: None}, RESULTS, TIMINGS)
    assert outcome.run == run.name
    return outcome.status
