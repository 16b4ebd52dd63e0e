"""The MLflow pages in a real browser, after `seal sync`.

`python tests/test_browser.py FOLDER`, in a project whose runs are synced, writes the pictures runs.png and charts.png.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from invented_records import invented_run, write_record
from playwright.sync_api import Page, expect, sync_playwright

from seal.record import RESULTS, TIMINGS
from seal.tracking.arms import sync_aggregates
from seal.tracking.sync import sync

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# MLflow opens a chat panel by itself for a new visitor.
NO_PANEL = """
    localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
    localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
"""
# MLflow asks for a signed-in user whom a local server does not have; the second is about the page's own layout.
KNOWN_ERRORS = re.compile(r"404 \(Not Found\).*/users/current$|ResizeObserver loop completed")
RUN_LINK = 'a[href*="/runs/"]'

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on the PATH"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy"),  # MLflow's own use of SQLAlchemy
]


@contextmanager
def served(project: Path) -> Iterator[str]:
    """The address of the runs' table while `serve` runs in that folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", f"from seal.tracking.server import serve; serve({port})"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    server = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
    finally:
        server.terminate()
        server.communicate(timeout=30)


@contextmanager
def browsed(folder: Path) -> Iterator[Page]:
    """A page of 1400 x 900 in a browser with a fresh profile in `folder`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            folder, executable_path=CHROMIUM, headless=True, args=FLAGS, viewport={"width": 1400, "height": 900}
        )
        browser.add_init_script(NO_PANEL)
        yield browser.new_page()
        browser.close()


def compare_address(table: str, runs: list[str]) -> str:
    experiment = re.search(r"/experiments/(\d+)/", table)
    assert experiment is not None
    return f"{table.partition('#')[0]}#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([experiment[1]])}"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runs = [invented_run(arm) for arm in ("normal", "normal_long", "llf", "seal")]
        for run in runs:
            write_record(RESULTS, run)
        Path("report/figures").mkdir(parents=True)
        Path("report/figures/figure-2.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        names = [run.name for run in runs]
        sync(names, RESULTS, TIMINGS)
        sync_aggregates(names)
    return folder


def test_a_browser_finds_the_runs_by_name_and_compares_two(project: Path, tmp_path: Path) -> None:
    errors: list[str] = []
    hosts: set[str | None] = set()
    with served(project) as table, browsed(tmp_path) as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda said: errors.append(f"{said.text} {said.location.get('url')}") if said.type == "error" else None,
        )
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(table)
        for place, arm in enumerate(["seal", "llf", "normal_long", "normal"]):  # by test accuracy
            for row in (2 * place, 2 * place + 1):  # the run, and the arm over its only seed
                name = page.locator(f'[row-index="{row}"] {RUN_LINK}')
                expect(name).to_have_text(re.compile(rf"^{arm}(-0)?$"), timeout=60_000)
        over_seeds = page.locator(RUN_LINK).filter(has_text=re.compile("^seal$")).get_attribute("href")
        for column in ("final/test_accuracy", "arm", "seed"):
            expect(page.get_by_role("columnheader", name=column).first).to_be_visible()
        ids = [page.get_by_role("link", name=name, exact=True).get_attribute("href") for name in ("seal-0", "llf-0")]
        page.goto(compare_address(table, [str(link).rpartition("/")[2] for link in ids]))
        expect(page.get_by_role("heading", name="Comparing 2 Runs")).to_be_visible(timeout=60_000)
        for words in ("seal-0", "llf-0", "final/test_accuracy", "training.learning_rate"):
            expect(page.get_by_text(words, exact=True).first).to_be_attached()
        page.goto(f"{table.partition('#')[0]}#{str(over_seeds).rpartition('#')[2]}/artifacts")
        page.get_by_text("report", exact=True).click(timeout=60_000)
        expect(page.get_by_text("figures", exact=True)).to_be_visible()
    assert [error for error in errors if not KNOWN_ERRORS.search(error)] == []
    assert {host for host in hosts if host} == {"127.0.0.1"}


def take_pictures(folder: Path) -> None:
    """runs.png, the table of the runs, and charts.png, their curves, of the project in the working directory."""
    charts = "^(train_accuracy|val_accuracy|test_accuracy|train_loss|norm_early|lr_early)$"
    with served(Path.cwd()) as table, tempfile.TemporaryDirectory() as profile, browsed(Path(profile)) as page:
        page.goto(table)
        page.get_by_role("button", name="Hide banner").click(timeout=60_000)
        page.wait_for_timeout(3000)
        page.screenshot(path=folder / "runs.png")
        page.set_viewport_size({"width": 1400, "height": 1040})
        page.goto(f"{table}&compareRunsMode=CHART")
        page.get_by_placeholder("Search metric charts").fill(charts, timeout=60_000)
        page.wait_for_timeout(5000)
        page.screenshot(path=folder / "charts.png")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
