"""The MLflow view of a training that runs: written by a process of its own, for which the training never waits."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from seal.errors import first_line
from seal.record import Row
from seal.runs import RunFolder
from seal.sections import Run
from seal.tracking.finished import FinishedRun
from seal.tracking.mlflow_view import Facts, View

Message = dict[str, Any]


class Tracker:
    """Shows a run in MLflow while it trains, by a process of its own, for which nothing waits.

    Importing MLflow takes 4 s of a core, which a thread would take from the training. Whatever fails is one line on
    stderr. Where this process is killed, the other one sees the pipe's end and marks the run as killed.
    """

    def __init__(self, run: Run, facts: Facts, rows: Sequence[Row], enabled: bool = True) -> None:
        self.run, self.facts = run, facts
        self.enabled = enabled and os.environ.get("SEAL_TRACK") != "0"  # a job's is, beside others (seal/cluster)
        # A resume state may hold more generations than are asked for now.
        self.rows = [row for row in rows if row["generation"] <= run.generations.num_generations]
        self.writer: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if self.enabled:
            command = [sys.executable, "-m", "seal.tracking.live"]
            # Its own group keeps Ctrl-C away. A session of its own would undo its nice value: Linux shares cores among
            # sessions first (sched_autogroup), and the training ran at half its speed for the 4 s of MLflow's import.
            # No stage of DVC's, which would end with the training: it outlives it, to mark the run as killed.
            environment = dict(os.environ)
            stage = environment.pop("DVC_STAGE", None)
            with _harmless(self.run.name):
                self.writer = subprocess.Popen(
                    command, stdin=subprocess.PIPE, text=True, process_group=0, env=environment
                )

            self._send({"facts": dict(self.facts), "rows": self.rows, "stage": stage, "time": _now()})
        return self

    def on_epoch(self, row: Row) -> None:
        self._send({"row": row, "time": _now()})

    def finish(self, folder: Path) -> None:
        """Hand over what the run's record in `folder` holds beyond its epochs, and mark the run as complete.

        Evaluations that are there are of earlier weights, and not looked at.
        """
        if self.enabled:
            with _harmless(self.run.name):
                finished = FinishedRun.of(RunFolder.read(folder, evaluations=()))
                self._send({"finished": asdict(finished), "time": _now()})

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
        words = f"warning: {run_name} in MLflow: {first_line(error)}. Training goes on; `seal sync` mends the view"
        print(words, file=sys.stderr, flush=True)


def write_live(messages: Iterator[Message]) -> None:
    """Write what a Tracker sends, until the end; nothing where it was killed before its first message was whole."""
    first = next(messages, None)
    if first is None:
        return

    with _harmless(first["facts"]["run"]):
        view = View(Path.cwd())
        run_id, status = view.begin(first["facts"], first["stage"], first["time"]), "FAILED"
        try:
            view.log_rows(run_id, first["rows"], [first["time"]] * len(first["rows"]))
            status = _write_until_the_end(view, run_id, messages)
        finally:
            if status != "FINISHED":
                view.client.set_terminated(run_id, status)


def _write_until_the_end(view: View, run_id: str, messages: Iterator[Message]) -> str:
    """The status in which the run ends; without a word about the end, it was killed."""
    for message in messages:
        if "status" in message:
            return str(message["status"])
        if "row" in message:
            view.log_rows(run_id, [message["row"]], [message["time"]])
        else:
            view.finish(run_id, FinishedRun(**message["finished"]), message["time"])
            return "FINISHED"
    return "KILLED"


def main() -> None:
    """The process of a Tracker. A thread empties the pipe, so that no delay of MLflow's can hold up the training."""
    os.nice(19)
    messages: SimpleQueue[Message | None] = SimpleQueue()

    def read() -> None:
        try:
            for line in sys.stdin:
                if not line.endswith("\n"):  # what is longer than the pipe is written in parts: killed between them
                    return
                messages.put(json.loads(line))
        finally:
            messages.put(None)

    threading.Thread(target=read, daemon=True).start()
    write_live(iter(messages.get, None))


def _now() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    main()
