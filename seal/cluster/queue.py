"""Slurm's commands: what it holds of this project's jobs, and what it says of its partitions.

A job's name is its stage's, its comment holds the submission and the stages that it runs. slurm.py, status.py and
`seal cancel` ask.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seal.errors import UserError


@dataclass(frozen=True)
class Queued:
    """A job that Slurm holds and that has not ended."""

    job: str  # its number
    label: str  # its name without `prefix`
    digest: str
    stages: tuple[str, ...]
    state: str  # RUNNING, PENDING, ...
    reason: str


def prefix() -> str:
    """Of the names of this project's jobs, its own among a user's."""
    return f"seal:{hashlib.sha256(str(Path.cwd()).encode()).hexdigest()[:8]}:"


def queued() -> list[Queued]:
    """This project's jobs in the queue; raises UserError where Slurm does not answer."""
    done = slurm("squeue", "--me", "--noheader", "--format=%i|%T|%r|%j|%k")
    jobs = []
    for line in done.splitlines():
        job, state, reason, name, comment = line.split("|", 4)
        if name.startswith(prefix()):
            digest, *stages = comment.split()
            jobs.append(Queued(job, name.removeprefix(prefix()), digest, tuple(stages), state, reason))
    return jobs


def jobs_by_stage(digest: str) -> dict[str, Queued]:
    """A submission's jobs in the queue, by each stage that they run."""
    jobs: dict[str, Queued] = {}
    for job in queued():
        if job.digest == digest:
            jobs |= dict.fromkeys(job.stages, job)
    return jobs


def cancel_all() -> int:
    """Cancel this project's jobs; how many there were."""
    jobs = [job.job for job in queued()]
    if jobs:
        slurm("scancel", *jobs)
    return len(jobs)


def slurm(*command: str, script: str = "") -> str:
    """What a command of Slurm's printed; raises UserError with its own line."""
    if shutil.which(command[0]) is None:
        raise UserError(
            f"found no {command[0]} on the PATH, expected Slurm's commands; go where they are, or --local N"
        )

    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(" ".join(done.stderr.split()) or f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def partition_minutes(options: Sequence[str]) -> float:
    """The longest time limit of the partitions that sbatch's options name, or of the default one."""
    named, limits = named_partitions(options), []
    for line in slurm("sinfo", "--noheader", "--format=%P|%l").splitlines():
        name, limit = line.split("|")
        if name.rstrip("*") in named or (name.endswith("*") and not named):
            limits.append(minutes_of(limit))
    return max(limits, default=float("inf"))


def named_partitions(options: Sequence[str]) -> list[str]:
    """As sbatch reads them: of --partition=a,b, --partition a, -pa and -p a the last, else its environment's."""
    named = os.environ.get("SBATCH_PARTITION", "")
    for word, following in zip(options, [*options[1:], ""], strict=False):
        if word in ("--partition", "-p"):
            named = following
        elif word.startswith(("--partition=", "-p")):
            named = word.removeprefix("--partition=").removeprefix("-p")
    return named.split(",") if named else []


def minutes_of(limit: str) -> float:
    """Of a partition's time limit as sinfo writes it: 1-00:00:00, 30:00 or infinite."""
    if not limit[:1].isdigit():
        return float("inf")
    days, _, clock = limit.rpartition("-")
    hours, minutes, seconds = [0, 0, *map(int, clock.split(":"))][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60
