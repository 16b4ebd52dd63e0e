"""When the MLflow view is written: live by a training, and from the record by `seal sync`; and its server."""

import csv
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Self

import yaml

from seal.config import Run
from seal.errors import UserError
from seal.record import Row, read_history
from seal.view import (
    DIGEST,
    QUIET,
    REMEDY,
    Facts,
    Record,
    View,
    address,
    artifacts,
    is_recorded,
    read_record,
    run_key,
)

Message = dict[str, Any]
EVERYWHERE = "0.0.0.0"


class Tracker:
    """Shows a run in MLflow while it trains, by a process of its own, for which nothing waits.

    Importing MLflow takes 4 s of a core, which a thread would take from the training. Whatever fails is one line on
    stderr. Where this process is killed, the other one sees the pipe's end and marks the run as killed.
    """

    def __init__(self, run: Run, facts: Facts, rows: Sequence[Row], enabled: bool = True) -> None:
        self.run, self.facts, self.enabled = run, facts, enabled
        # A resume state may hold more generations than are asked for now.
        self.rows = [row for row in rows if row["generation"] <= run.generations.num_generations]
        self.writer: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if self.enabled:
            command = [sys.executable, "-m", "seal.tracking"]
            # Its own group keeps Ctrl-C away. A session of its own would undo its nice value: Linux shares cores among
            # sessions first (sched_autogroup), and the training ran at half its speed for the 4 s of MLflow's import.
            with _harmless(self.run.name):
                self.writer = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, process_group=0)
            stage = os.environ.get("DVC_STAGE")
            self._send({"facts": dict(self.facts), "rows": self.rows, "stage": stage, "time": _now()})
        return self

    def on_epoch(self, row: Row) -> None:
        self._send({"row": row, "time": _now()})

    def finish(self, folder: Path) -> None:
        """Hand over what the run's record in `folder` holds beyond its epochs, and mark the run as complete."""
        if self.enabled:
            with _harmless(self.run.name):
                self._send({"record": asdict(read_record(folder)), "time": _now()})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._send({"status": "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"})
        if self.writer is not None and self.writer.stdin is not None:
            with suppress(OSError):
                self.writer.stdin.close()

    def _send(self, message: Message) -> None:
        if self.writer is not None and self.writer.stdin is not None:
            with suppress(OSError):  # it has ended, and has said why
                self.writer.stdin.write(json.dumps(message) + "\n")
                self.writer.stdin.flush()


@contextmanager
def _harmless(run_name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        words = f"warning: {run_name} in MLflow: {reason}. Training goes on; `seal sync` mends the view"
        print(words, file=sys.stderr, flush=True)


def write_live(messages: Iterator[Message]) -> None:
    """Write what a Tracker sends, until the end; without a word about the end, the run was killed."""
    first = next(messages)
    with _harmless(first["facts"]["run"]):
        view, status = View(Path.cwd()), "KILLED"
        run_id = view.begin(first["facts"], first["stage"], first["time"])
        try:
            view.log_rows(run_id, first["rows"], [first["time"]] * len(first["rows"]))
            for message in messages:
                if "row" in message:
                    view.log_rows(run_id, [message["row"]], [message["time"]])
                elif "record" in message:
                    view.finish(run_id, Record(**message["record"]), message["time"])
                    status = "FINISHED"
                    break
                else:
                    status = message["status"]
        except Exception:
            status = "FAILED"
            raise
        finally:
            if status != "FINISHED":
                view.client.set_terminated(run_id, status)


def main() -> None:
    """The process of a Tracker. A thread empties the pipe, so that no delay of MLflow's can hold up the training."""
    os.nice(19)
    messages: SimpleQueue[Message | None] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            messages.put(json.loads(line))
        messages.put(None)

    threading.Thread(target=read, daemon=True).start()
    write_live(iter(messages.get, None))


@dataclass(frozen=True)
class SyncOutcome:
    run: str
    status: Literal["written", "unchanged", "not recorded"]


def sync(run_names: Sequence[str], results: Path, timings: Path) -> list[SyncOutcome]:
    """Make the view of these runs equal to their record; a second call changes nothing. Other runs stay as they are.

    Raises UserError where the database cannot be used or a record cannot be read.
    """
    recorded = [name for name in run_names if is_recorded(results / name)]
    if not recorded:
        return [SyncOutcome(name, "not recorded") for name in run_names]
    view, stages = View(Path.cwd()), stages_of(Path("dvc.lock"))
    from mlflow.exceptions import MlflowException

    outcomes = []
    for name in run_names:
        if name not in recorded:
            outcomes.append(SyncOutcome(name, "not recorded"))
            continue
        try:
            outcomes.append(_sync_run(view, results / name, stages.get(name), timings))
        except (LookupError, TypeError, ValueError) as error:
            remedy = "`dvc checkout` or `dvc repro` restores it"
            raise UserError(f"{results / name}: not a record of this version ({error!r}); {remedy}") from error
        except MlflowException as error:
            raise UserError(f"{name} in mlflow.db: {str(error).splitlines()[0]}; {REMEDY}") from error
    return outcomes


def _sync_run(view: View, folder: Path, stage: str | None, timings: Path) -> SyncOutcome:
    record, rows = read_record(folder), read_history(folder / "history.csv")
    found = view.find(run_key(record.summary))
    current = next((run for run in found if run.data.tags.get(DIGEST) == record.digest), None)
    if current is not None:
        view.remove([run for run in found if run is not current])
        return SyncOutcome(folder.name, "unchanged")
    start, end = times_of(timings / f"{stage or f'train@{folder.name}'}.csv", folder, len(rows))
    run_id = view.begin(record.summary, stage, start)
    view.log_rows(run_id, rows, [start + (end - start) * (index + 1) // len(rows) for index in range(len(rows))])
    view.finish(run_id, record, end)
    return SyncOutcome(folder.name, "written")


def stages_of(lock: Path) -> dict[str, str]:
    """The stage that wrote each run's record, by dvc.lock."""
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    outs = [(PurePosixPath(out["path"]), name) for name, stage in stages.items() for out in stage.get("outs", [])]
    return {path.parent.name: name for path, name in outs if path.name == "summary.json"}


def times_of(timing: Path, folder: Path, epochs: int) -> tuple[int, int]:
    """Start and end in ms: the stage's last timing; without one the record's date, at a second an epoch."""
    if timing.exists():
        with timing.open(encoding="utf-8", newline="") as file:
            *_, row = csv.DictReader(file)
        end = int(datetime.fromisoformat(row["date"]).timestamp() * 1000)
        return end - int(float(row["seconds"]) * 1000), end
    end = (folder / "history.csv").stat().st_mtime_ns // 1_000_000
    return end - 1000 * epochs, end


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


def _now() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
