"""A job's workspace: a copy of the snapshot in which DVC runs one stage, and which is gone afterwards. job.py asks."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seal.cluster.pipeline import write_entries
from seal.cluster.submission import CLUSTER, Submission
from seal.interruption import die_with_parent
from seal.record import scratch_root
from seal.timings import append_timings, read_timings

FULL = 2**20  # bytes; a disk with less free is called full


@contextmanager
def workspace(submission: Submission, stage: str, remote: str) -> Iterator[Path]:
    """A copy of the snapshot with the lock entries of what the stage needs, as DVC reads and writes all of them again
    and again. What a killed job left of a workspace is removed first."""
    for left in submission.work.glob(f"{glob.escape(stage)}.*"):
        shutil.rmtree(left, ignore_errors=True)

    work = Path(tempfile.mkdtemp(prefix=f"{stage}.", dir=submission.work))
    try:
        shutil.copytree(submission.files, work, dirs_exist_ok=True)
        if remote:
            (work / ".dvc/config.local").write_text(f"[core]\n    remote = {remote}\n", encoding="utf-8")
        write_entries(work / "dvc.lock", submission.entries_for(stage))
        yield work
    finally:
        # A job that is cancelled is told so by make too: the second word would end the removal.
        told: list[int] = []
        before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
        shutil.rmtree(work, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)
        if told:
            signal.raise_signal(signal.SIGTERM)


def link_of(cache: Path) -> str | None:
    """How a workspace gets its files out of DVC's cache, `link` or `symlink`; None where each has to be copied."""
    CLUSTER.mkdir(exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CLUSTER) as folder, tempfile.NamedTemporaryFile(dir=cache) as file:
        for link in (os.link, os.symlink):
            try:
                link(file.name, Path(folder, link.__name__))
            except OSError:
                continue
            return link.__name__
    return None


def repro(submission: Submission, stage: str, work: Path, threads: int, gpu: str | None, remote: str) -> int:
    """DVC's exit status, where a signal ended it 128 and the signal's number, as in a shell.

    With a remote what stands above comes from there, and what the stage made goes there.
    """
    scratch = submission.project / scratch_root()
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
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as nvidia-smi counts; CUDA would count the fastest first

    # Of the stages above nothing is put into place but what this one reads: DVC would write dvc.lock anew for each.
    commands = [["repro", "--pull", "--allow-missing", stage]]
    if remote:
        commands.append(["push", "--quiet", "--run-cache", stage])
    for command in commands:
        dvc = [sys.executable, "-m", "dvc", *command]
        # Else DVC would go on when its job was killed and the stage's lock is free.
        done = subprocess.run(dvc, cwd=work, env=environment, preexec_fn=die_with_parent, check=False)
        if done.returncode:
            return done.returncode if done.returncode > 0 else 128 - done.returncode
    return 0


def hand_over_timings(work: Path, project: Path) -> None:
    """Add the workspace's rows of timings to the project's."""
    for path in (work / "timings").glob("*.csv"):
        append_timings(project / "timings" / path.name, read_timings(path))


def say_what_is_full(submission: Submission, work: Path) -> None:
    """A line for each place without room: DVC's own word for it is SQLite's, "disk I/O error"."""
    scratch = submission.project / scratch_root()
    for folder in (work, Path(submission.facts["cache"]), scratch):
        if folder.exists() and shutil.disk_usage(folder).free < FULL:
            print(f"error: {folder}: the disk is full; make room and submit again", file=sys.stderr)
