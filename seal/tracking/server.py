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
from seal.tracking.mlflow_view import QUIET, View, address, artifacts

EVERYWHERE = "0.0.0.0"


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Serve MLflow's pages until Ctrl-C (or SIGTERM, or the terminal's end). Raises UserError where it cannot start.

    Whatever `host` it listens on, it answers those alone who ask for localhost or for that host by name: a page of
    another site that points its own name here (DNS rebinding) gets a 403.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"port {port} of {host}: {error.strerror}; choose another with `seal ui --port`") from None
    root = Path.cwd()
    runs = View(root).page("localhost" if host == EVERYWHERE else host, port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", address(root), "--registry-store-uri", address(root)]
    # With any port: a container's may be published as another one.
    names = sorted({"localhost", "127.0.0.1", host})
    command += ["--allowed-hosts", ",".join([*names, *(f"{name}:*" for name in names)])]
    command += ["--artifacts-destination", str(artifacts(root.resolve())), "--uvicorn-opts", "--log-level warning"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment = inherited | QUIET | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) == signal.SIG_DFL:  # else nohup, or a caller with plans of its own
            signal.signal(ending, signal.default_int_handler)
    # A session of its own: Ctrl-C reaches this process alone, which then ends the server with all its children.
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while server.poll() is None and not _answers(host, port):
            time.sleep(0.2)
        if server.poll() is None:
            print(f"MLflow shows the runs at {runs}\nCtrl-C ends it", flush=True)
        raise UserError(f"the MLflow server ended with status {server.wait()}; its own messages are above")
    except KeyboardInterrupt:
        print("MLflow's server ended", flush=True)
    finally:
        _end(server)


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
