"""MLflow's pages for the tests: a project served as by `seal ui`, and a browser.

`python tests/pages.py FOLDER`, in a project whose runs are synced, writes the pictures runs.png and charts.png.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

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


@dataclass(frozen=True)
class Served:
    """A project while `seal ui` serves it; `table`: the address of the runs' table."""

    project: Path
    port: int
    process: "subprocess.Popen[str]"
    table: str


@contextmanager
def serving(project: Path, host: str = "127.0.0.1") -> Iterator[Served]:
    port = free_port()
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += f"from seal.tracking.server import serve; serve({port}, {host!r})"
    # Another MLflow server in the environment must not matter.
    environment = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{project}/elsewhere.db",
    }

    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=project, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield Served(project, port, process, process.stdout.readline().split()[-1])
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def take_pictures(folder: Path) -> None:
    """runs.png, the table of the runs, and charts.png, their curves, of the project in the working directory."""
    charts = "^(train_accuracy|val_accuracy|test_accuracy|train_loss|norm_early|lr_early)$"
    with serving(Path.cwd()) as shown, tempfile.TemporaryDirectory() as profile, browsed(Path(profile)) as page:
        page.goto(shown.table)
        page.get_by_role("button", name="Hide banner").click(timeout=60_000)
        page.wait_for_timeout(3000)
        page.screenshot(path=folder / "runs.png")

        page.set_viewport_size({"width": 1400, "height": 1040})
        page.goto(f"{shown.table}&compareRunsMode=CHART")
        page.get_by_placeholder("Search metric charts").fill(charts, timeout=60_000)
        page.wait_for_timeout(5000)
        page.screenshot(path=folder / "charts.png")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]))
