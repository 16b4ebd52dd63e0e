"""MLflow's pages as `seal ui` serves them after `seal sync`: their server, and what a real browser shows."""

import http.client
import json
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from seal.errors import UserError
from seal.record import RESULTS, TIMINGS, write_json
from seal.tracking import server
from seal.tracking.arms import CLAIMS, sync_aggregates
from seal.tracking.mlflow_view import View
from seal.tracking.sync import sync
from tests.conftest import NewDatabase
from tests.invented_records import invented_run, write_record
from tests.pages import CHROMIUM, Served, browsed, free_port, serving

# MLflow asks for a signed-in user whom a local server does not have; the second is about the page's own layout.
KNOWN_ERRORS = re.compile(r"404 \(Not Found\).*/users/current$|ResizeObserver loop completed")
RUN_LINK = 'a[href*="/runs/"]'
ARMS = ("normal", "normal_long", "llf", "seal")

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(scope="module")
def project(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synced runs and arms, in a folder that was moved since."""
    # Of a name of its own: MLflow would take another project at this place for the one that has left it.
    first, moved = tmp_path_factory.mktemp("a project that moves"), tmp_path_factory.mktemp("elsewhere") / "moved here"
    shutil.copy(new_database.path, first)
    runs = [invented_run(arm) for arm in ARMS]
    names = [run.name for run in runs]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(first)
        for run in runs:
            write_record(RESULTS, run)
        write_json(CLAIMS, {"tier": "smoke"})
        Path("report/figures").mkdir(parents=True)
        Path("report/figures/smoke-accuracy.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        sync(dict.fromkeys(names), RESULTS, TIMINGS)
        sync_aggregates(dict.fromkeys(names))

    first.rename(moved)
    return moved


@pytest.fixture(scope="module")
def served(project: Path) -> Iterator[Served]:
    """As in a container; one server for the module, since each imports MLflow three times."""
    with serving(project, "0.0.0.0") as server_of_project:
        yield server_of_project


@pytest.mark.slow
def test_artifacts_survive_moving_the_folder(served: Served) -> None:
    assert f"http://localhost:{served.port}/#/experiments/" in served.table
    assert processes_with(served.port)
    (entry,) = View(served.project).find("smoke/seal-0")

    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    for name in ("history.csv", "summary.json"):
        connection.request("GET", f"/get-artifact?run_uuid={entry.info.run_id}&path={name}")
        assert connection.getresponse().read() == (served.project / "results/seal-0" / name).read_bytes()
    connection.close()


@pytest.mark.slow
def test_only_this_host_is_answered_for(served: Served) -> None:
    """Docker may publish it at another port; a name that its owner points here (DNS rebinding) is not answered."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    for name, expected in (("localhost:8080", 200), ("rebinding.example", 403), ("10.example:5000", 403)):
        connection.request("GET", "/", headers={"Host": name})
        reply = connection.getresponse()
        reply.read()
        assert reply.status == expected, name
    connection.close()


def compare_address(table: str, runs: list[str]) -> str:
    experiment = re.search(r"/experiments/(\d+)/", table)
    assert experiment is not None
    return f"{table.partition('#')[0]}#/compare-runs?runs={json.dumps(runs)}&experiments={json.dumps([experiment[1]])}"


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not on the PATH")
def test_a_browser_finds_the_runs_by_name_and_compares_two(served: Served, tmp_path: Path) -> None:
    errors: list[str] = []
    hosts: set[str | None] = set()
    with browsed(tmp_path) as page:

        def on_console(message: Any) -> None:
            if message.type == "error":
                errors.append(f"{message.text} {message.location.get('url')}")

        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", on_console)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))

        page.goto(served.table)
        for place, arm in enumerate(["seal", "llf", "normal_long", "normal"]):  # by test accuracy
            for row in (2 * place, 2 * place + 1):  # the run, and the arm over its only seed
                name = page.locator(f'[row-index="{row}"] {RUN_LINK}')
                expect(name).to_have_text(re.compile(rf"^{arm}(-0)?$"), timeout=60_000)
        over_seeds = page.locator(RUN_LINK).filter(has_text=re.compile("^seal$")).get_attribute("href")
        for column in ("final/test_accuracy", "arm", "seed"):
            expect(page.get_by_role("columnheader", name=column).first).to_be_visible()

        links = [page.get_by_role("link", name=name, exact=True).get_attribute("href") for name in ("seal-0", "llf-0")]
        page.goto(compare_address(served.table, [str(link).rpartition("/")[2] for link in links]))
        expect(page.get_by_role("heading", name="Comparing 2 Runs")).to_be_visible(timeout=60_000)
        for words in ("seal-0", "llf-0", "final/test_accuracy", "training.learning_rate"):
            expect(page.get_by_text(words, exact=True).first).to_be_attached()

        page.goto(f"{served.table.partition('#')[0]}#{str(over_seeds).rpartition('#')[2]}/artifacts")
        page.get_by_text("report", exact=True).click(timeout=60_000)
        page.get_by_text("figures", exact=True).click()
        expect(page.get_by_text("smoke-accuracy.svg", exact=True)).to_be_visible()

    assert [error for error in errors if not KNOWN_ERRORS.search(error)] == []
    assert {host for host in hosts if host} == {"localhost"}


@pytest.mark.slow
def test_the_server_ends_whole(served: Served) -> None:
    """The last to ask for it."""
    served.process.send_signal(signal.SIGINT)
    printed, _ = served.process.communicate(timeout=30)
    assert printed.splitlines()[-1] == "MLflow's server ended"
    assert served.process.returncode == 0
    assert not processes_with(served.port)
    assert not (served.project / "elsewhere.db").exists()


def test_a_taken_port_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"^port {port} of 127.0.0.1: Address already in use; choose another"):
            server.serve(port)


def test_unless_told_it_listens_on_this_machine_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def start(command: list[str], **options: object) -> None:
        commands.append(command)
        raise InterruptedError

    monkeypatch.chdir(project)
    monkeypatch.setattr(server, "_let_endings_interrupt", lambda: None)
    monkeypatch.setattr("subprocess.Popen", start)
    with pytest.raises(InterruptedError):
        server.serve(free_port())

    (command,) = commands
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--allowed-hosts") + 1] == "127.0.0.1,127.0.0.1:*,localhost,localhost:*"


def test_a_terminals_end_interrupts_unless_it_is_to_be_outlived() -> None:
    kept = {ending: signal.getsignal(ending) for ending in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        server._let_endings_interrupt()
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        for ending, handler in kept.items():
            signal.signal(ending, handler)


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
