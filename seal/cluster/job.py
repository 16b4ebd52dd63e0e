"""A job, where Slurm or make says: `python -m seal.cluster.job STAGE ...`, in the environment of a submission.

Several stages are run one after another. A second job of a stage that is done takes seconds, and runs no command.
"""

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seal.cluster.pipeline import locked_entries
from seal.cluster.status import last_line
from seal.cluster.submission import MARKER, Submission
from seal.cluster.workspace import hand_over_timings, repro, say_what_is_full, workspace
from seal.errors import one_line_errors

TERMINATED = 128 + signal.SIGTERM


def run_job(
    submission: Submission, stage: str, label: str, threads: int, gpus: Sequence[str], per_gpu: int, remote: str
) -> int:
    """DVC's exit status for the stage, run or restored in a workspace that is gone afterwards; 1 where there could be
    none. The stage's mark says what came of it."""
    facts: dict[str, Any] = {
        "label": label,
        "node": os.environ.get("SLURMD_NODENAME", platform.node()),
        "start": int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        "gpus": gpu_names(),
        "since": time.time(),
    }
    with FileLock(submission.lock(stage)), gpu_place(submission, gpus, per_gpu) as gpu:
        print(f"{stage} begins on {facts['node']} at {time.strftime('%F %T')}, start {facts['start']}", flush=True)
        submission.write_mark(stage, state="running", **facts)

        outcome: dict[str, Any] = {"state": "failed", "status": 1}
        try:
            outcome = outcome_of(submission, stage, label, threads, gpu, remote)
        finally:
            facts["seconds"] = round(time.time() - facts["since"], 1)
            submission.write_mark(stage, **outcome, **facts)

    return int(outcome["status"])


def outcome_of(
    submission: Submission, stage: str, label: str, threads: int, gpu: str | None, remote: str
) -> dict[str, Any]:
    """For a mark. Of a stage that fails it has the last line in the log of this label: other stages may write there."""
    status = 1
    try:
        with one_line_errors(), workspace(submission, stage, remote) as work:
            status = repro(submission, stage, work, threads, gpu, remote)
            if status == 0:
                hand_over_timings(work, submission.project)
                return {"state": "done", "status": 0, "entry": locked_entries(work / "dvc.lock")[stage]}
            say_what_is_full(submission, work)
    except SystemExit as ended:
        if not isinstance(ended.code, str):  # the job is told to end
            raise
        print(ended.code, file=sys.stderr, flush=True)
    return {"state": "failed", "status": status or 1, "words": last_line(submission.log(label))}


def gpu_names() -> list[str]:
    """The models of this node's GPUs; none without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return sorted({*subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()})


@contextmanager
def gpu_place(submission: Submission, gpus: Sequence[str], per_gpu: int) -> Iterator[str | None]:
    """A free place on one of these GPUs, held until this process ends, however it ends; None where none are named."""
    places = [*product(range(per_gpu), gpus)]
    while places:
        for number, gpu in places:
            try:
                with FileLock(submission.lock(f"gpu-{gpu}-{number}"), blocking=False):
                    yield gpu
                    return
            except Timeout:
                continue
        time.sleep(1)
    yield None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m seal.cluster.job")
    parser.add_argument("stages", nargs="+")
    parser.add_argument("--label", help="of the log; a job of one stage has the stage's name")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--gpus", default="", help="as 0,1: take a place on one of these")
    parser.add_argument("--per-gpu", type=int, default=1)
    parser.add_argument("--remote", default="", help="of DVC: where no file system is shared")
    chosen = parser.parse_args(arguments)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    submission, statuses = Submission(Path(os.environ[MARKER])), []
    label, gpus = chosen.label or chosen.stages[0], [*filter(None, chosen.gpus.split(","))]
    with one_line_errors():
        for stage in chosen.stages:
            statuses.append(run_job(submission, stage, label, chosen.threads, gpus, chosen.per_gpu, chosen.remote))
    sys.exit(next(filter(None, statuses), 0))


if __name__ == "__main__":
    main()
