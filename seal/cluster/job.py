"""One stage, where Slurm or make says: `python -m seal.cluster.job STAGE`, in the environment of a submission.

Its exit status is DVC's. A second job of a stage that is done takes seconds, and runs no command.
"""

import argparse
import glob
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seal.cluster.pipeline import locked_entries, write_entries
from seal.cluster.snapshot import MARKER, Submission
from seal.errors import one_line_errors
from seal.stage import die_with_parent

FULL = 2**20  # bytes; a disk with less free is called full
TERMINATED = 128 + signal.SIGTERM


def run_job(submission: Submission, stage: str, threads: int, gpus: Sequence[str], per_gpu: int) -> int:
    """DVC's exit status for the stage, run or restored in a workspace that is gone afterwards."""
    facts: dict[str, Any] = {
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
            with workspace(submission, stage) as work:
                outcome["status"] = repro(submission, stage, work, threads, gpu)
                if outcome["status"]:
                    say_what_is_full(submission, work)
                else:
                    hand_over_timings(work, submission.project)
                    outcome |= {"state": "done", "entry": locked_entries(work / "dvc.lock")[stage]}
        finally:
            facts["seconds"] = round(time.time() - facts["since"], 1)
            submission.write_mark(stage, **outcome, **facts)
    return int(outcome["status"])


def gpu_names() -> list[str]:
    """The models of this node's GPUs; none without nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return sorted({*subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()})


@contextmanager
def gpu_place(submission: Submission, gpus: Sequence[str], per_gpu: int) -> Iterator[str | None]:
    """A free place on one of these GPUs, held until this process ends, however it ends; None where none are named."""
    places = [(gpu, number) for number in range(per_gpu) for gpu in gpus]
    while places:
        for gpu, number in places:
            try:
                with FileLock(submission.lock(f"gpu-{gpu}-{number}"), blocking=False):
                    yield gpu
                    return
            except Timeout:
                continue
        time.sleep(1)
    yield None


@contextmanager
def workspace(submission: Submission, stage: str) -> Iterator[Path]:
    """A copy of the snapshot with the lock entries of what is done. What a killed job left of one is removed first."""
    for left in submission.work.glob(f"{glob.escape(stage)}.*"):
        shutil.rmtree(left, ignore_errors=True)

    work = Path(tempfile.mkdtemp(prefix=f"{stage}.", dir=submission.work))
    try:
        shutil.copytree(submission.files, work, dirs_exist_ok=True)
        write_entries(work / "dvc.lock", submission.entries())
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def repro(submission: Submission, stage: str, work: Path, threads: int, gpu: str | None) -> int:
    scratch = submission.project / os.environ.get("SEAL_SCRATCH", "scratch")
    environment = os.environ | {
        "SEAL_STAGE": stage,  # the harness refuses any other
        "SEAL_TRACK": "0",  # SQLite is never written from two machines
        "SEAL_SCRATCH": str(scratch),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": f"{work}{os.pathsep}{os.environ['PYTHONPATH']}",
        "DVC_SITE_CACHE_DIR": str(work / ".dvc/site"),  # else a folder outside of the project, shared by users
        "DVC_NO_ANALYTICS": "1",
    }
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu

    command = [sys.executable, "-m", "dvc", "repro", stage]
    # Else DVC would go on when its job was killed and the stage's lock is free.
    return subprocess.run(command, cwd=work, env=environment, preexec_fn=die_with_parent, check=False).returncode


def hand_over_timings(work: Path, project: Path) -> None:
    """Add the workspace's rows of timings to the project's."""
    for path in (work / "timings").glob("*.csv"):
        target, text = project / "timings" / path.name, path.read_text(encoding="utf-8")
        target.parent.mkdir(exist_ok=True)
        with target.open("a", encoding="utf-8", newline="") as file:
            file.write(text if file.tell() == 0 else text.partition("\n")[2])


def say_what_is_full(submission: Submission, *folders: Path) -> None:
    """A line for each place without room: DVC's own word for it is SQLite's, "disk I/O error"."""
    scratch = submission.project / os.environ.get("SEAL_SCRATCH", "scratch")
    for folder in (*folders, Path(submission.facts["cache"]), scratch):
        if folder.exists() and shutil.disk_usage(folder).free < FULL:
            print(f"error: {folder}: the disk is full; make room and submit again", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m seal.cluster.job")
    parser.add_argument("stage")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--gpus", default="", help="as 0,1: take a place on one of these")
    parser.add_argument("--per-gpu", type=int, default=1)
    chosen = parser.parse_args(arguments)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with one_line_errors(chosen.stage):
        submission = Submission(Path(os.environ[MARKER]))
        gpus = [gpu for gpu in chosen.gpus.split(",") if gpu]
        status = run_job(submission, chosen.stage, chosen.threads, gpus, chosen.per_gpu)
    sys.exit(status)


if __name__ == "__main__":
    main()
