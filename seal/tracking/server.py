"""MLflow's own pages on localhost: `seal ui`."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from seal.errors import UserError
from seal.tracking.database import QUIET, address, artifacts, results_page
from seal.tracking.mlflow_view import View

EVERYWHERE = "0.0.0.0"


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serve MLflow's pages until Ctrl-C (or SIGTERM, or the terminal's end). Raises UserError where it cannot start.

    Whatever `host` it listens on, it answers those alone who ask for localhost or for that host by name: a page of
    another site that points its own name here (DNS rebinding) gets a 403.
    """
    _require_free(host, port)
    root = Path.cwd()
    page = results_page(View(root).experiment_id, "localhost" if host == EVERYWHERE else host, port)

    _let_endings_interrupt()
    # A session of its own: Ctrl-C reaches this process alone, which then ends the server with all its children.
    server = subprocess.Popen(_command(root, host, port), env=_environment(), start_new_session=True)
    try:
        while server.poll() is None and not _answers(host, port):
            time.sleep(0.2)
        if server.poll() is None:
            print(f"MLflow shows the runs at {page}\nCtrl-C ends it", flush=True)
        raise UserError(f"the MLflow server ended with status {server.wait()}; its own messages are above")
    except KeyboardInterrupt:
        print("MLflow's server ended", flush=True)
    finally:
        _end(server)


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"port {port} of {host}: {error.strerror}; choose another with `seal ui --port`") from None


def _let_endings_interrupt() -> None:
    """SIGTERM and the terminal's end as Ctrl-C; but not under nohup, or for a caller with plans of its own."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) == signal.SIG_DFL:
            signal.signal(ending, signal.default_int_handler)


def _command(root: Path, host: str, port: int) -> list[str]:
    allowed_hosts = []
    for name in sorted({"localhost", "127.0.0.1", host}):
        allowed_hosts += [name, f"{name}:*"]  # with any port: a container's may be published as another one

    return [
        sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1",
        "--backend-store-uri", address(root), "--registry-store-uri", address(root),
        "--allowed-hosts", ",".join(allowed_hosts),
        "--artifacts-destination", str(artifacts(root.resolve())), "--uvicorn-opts", "--log-level warning",
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    """Without what the caller's says of another server."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return inherited | QUIET | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(server: "subprocess.Popen[bytes]") -> None:
    for ending in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, ending)
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
