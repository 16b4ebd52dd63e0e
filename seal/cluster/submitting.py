"""What `seal submit` does: stages sent to make on this machine, or to Slurm; and gathered where none lacks a job."""

from typing import NamedTuple

import typer

from seal.cluster.gather import gather
from seal.cluster.local import check_local, gpu_options, start, threads_at_once, words_of_gather
from seal.cluster.queue import queued
from seal.cluster.sbatch import Sbatch, check_options
from seal.cluster.slurm import send
from seal.cluster.submit import prepared, threads_of_a_job


class Handing(NamedTuple):
    """How jobs are handed to Slurm."""

    options: list[str]  # for sbatch
    grouped: bool  # all evaluations of a run in one job
    restarts: int
    image: str
    dry: bool


def submit_locally(
    stages: list[str], places: int, threads: int | None, remote: str, gpus: list[str], per_gpu: int | None, wait: bool
) -> None:
    check_local(gpus)
    number = threads_at_once(threads, places, gpus)
    options = job_options(number, remote) + gpu_options(gpus, per_gpu)
    with prepared(stages, "local", places, remote) as ready:
        if not ready.needs:
            typer.echo("no stage lacks a job")
            gather(stages)
            return

        process = start(ready, places, options)

    typer.echo(f"{len(ready.needs)} stages, {places} at once, threads of each: {number}; `seal status` shows them")
    if wait:
        typer.echo(words_of_gather(ready.submission, process.wait()), nl=False)
        raise typer.Exit(1 if process.returncode else 0)


def job_options(threads: int, remote: str) -> list[str]:
    return ["--threads", str(threads), *(["--remote", remote] if remote else [])]


def submit_to_slurm(stages: list[str], threads: int | None, remote: str, handing: Handing) -> None:
    check_options(handing.options)
    queued()  # an error here, where there is no Slurm
    number = threads_of_a_job(threads, 1)
    with prepared(stages, "slurm", 0, remote) as ready:
        if not ready.needs:
            typer.echo("no stage lacks a job")
            if not handing.dry:
                gather(stages)
            return

        options = (f"--cpus-per-task={number}", *handing.options)
        sbatch = Sbatch(ready.submission, ready.facts, options, handing.restarts, handing.image, handing.dry)
        sent = send(sbatch, ready.needs, job_options(number, remote), handing.grouped)
    if not handing.dry:
        typer.echo(f"{len(ready.needs)} stages, {sent} new jobs, threads of each: {number}; `seal status` shows them")
