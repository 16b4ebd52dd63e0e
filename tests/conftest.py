"""One Hypothesis profile, and what a process makes once for all tests: projects, a report, a new MLflow database; and
closing lines that say what a green run has not covered."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from seal.tracking.database import QUIET

settings.register_profile(
    "seal", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("seal")

ROOT = Path(__file__).parents[1]
# Their fixtures, and asserts that say what they met; `waiting` first, as another of them imports it.
pytest_plugins = ("tests.waiting", "tests.claim_records", "tests.own_images", "tests.pages", "tests.toy_project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "mirror" in getattr(item, "fixturenames", ()):
            item.add_marker("mirrored")  # a report, which a worker process sends, knows its test's marks alone
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)  # else a process ends with them, alone


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """What a stage sets of torch's threads ends with its test: two beside another process's slow both fourfold."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """A test that draws by torch's own generator draws the same, whatever ran before it in its process."""
    torch.manual_seed(0)


@dataclass(frozen=True)
class NewDatabase:
    path: Path
    openers: "subprocess.CompletedProcess[str]"


# One import of MLflow for both, so that they meet in its migrations.
OPEN_AT_ONCE = """if True:
    import multiprocessing, sys
    from pathlib import Path
    import mlflow
    from seal.tracking.mlflow_view import View
    context = multiprocessing.get_context("fork")
    openers = [context.Process(target=View, args=[Path.cwd()]) for _ in range(2)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    print(*(opener.exitcode for opener in openers))
"""


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """MLflow's database, as two processes leave it that open a new one at once. Tests start from copies of it, since
    MLflow's migrations take seconds; those who ask for it are of one xdist group, and have one."""
    folder = tmp_path_factory.mktemp("new")
    os.environ.update(QUIET)
    command, pipe = [sys.executable, "-c", OPEN_AT_ONCE], subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe)

    import_module("mlflow")  # meanwhile: it takes this process as long
    printed, complaints = process.communicate(timeout=200)
    openers = subprocess.CompletedProcess(command, process.returncode, printed, complaints)
    return NewDatabase(folder / "mlflow.db", openers)


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which a user's image folder is packed and generation 1 trained; tests change copies."""
    from seal.config import load_params
    from seal.data import fetch, packing
    from seal.train import run_stage
    from tests.small_project import make_images, write_params

    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_images(root)
        write_params()
        fetch.main(["mine"])
        packing.main(["mine"])
        run_stage("normal-0", load_params())
    return root


@pytest.fixture
def project(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the test runs."""
    folder = tmp_path / "project"
    shutil.copytree(packed, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two committed records; those who ask for it are of one xdist group, and have one."""
    from eval.report.__main__ import report
    from eval.report.settings import recorded_study

    out, records = tmp_path_factory.mktemp("report"), [ROOT / "expected/smoke", ROOT / "expected/mini"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        report([recorded_study([folder]) for folder in records], [folder / "claims.json" for folder in records], out)
    return out


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped if report.longrepr})
    for reason in reasons:
        count = sum(reason in str(report.longrepr) for report in skipped)
        terminalreporter.write_line(f"left out, {count} tests: {reason}")
    used = sum("mirrored" in report.keywords for report in terminalreporter.stats.get("passed", []))
    terminalreporter.write_line(f"tests that used the data mirror's real images: {used}")
