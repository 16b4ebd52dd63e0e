"""The commands `seal submit`, `status`, `gather` and `cancel`; seal/cli.py shows them among its own."""

import os
import time
from typing import Annotated

import typer

from seal.errors import UserError, one_line_errors

app = typer.Typer()
FOLLOWED = 5.0  # s between two looks


@app.command()
def submit(
    stages: Annotated[
        list[str] | None, typer.Argument(metavar="[STAGE ...]", help="these, as train@seal-0 or train, and those above")
    ] = None,
    local: Annotated[int | None, typer.Option(metavar="N", help="on this machine, N at once")] = None,
    threads: Annotated[int | None, typer.Option(help="of each job; results differ in bits with it", min=1)] = None,
    gpus: Annotated[str, typer.Option(help="as 0,1: the GPUs to share out")] = "",
    per_gpu: Annotated[int, typer.Option(help="jobs at once on a GPU", min=1)] = 1,
    wait: Annotated[bool, typer.Option("--wait", help="until all has ended")] = False,
) -> None:
    """Send what lacks as jobs, many at once, each in a copy of the project as it is now; and gather what they make."""
    from seal.cluster.gather import gather
    from seal.cluster.local import check_local, start
    from seal.cluster.submit import prepared, threads_of_a_job

    with one_line_errors():
        if local is None or local < 1:
            raise UserError(f"found --local {local or 'missing'}, expected a number of jobs at once, as --local 2")
        named = [gpu for gpu in gpus.split(",") if gpu]
        check_local(named)
        number = threads_of_a_job(threads, max(1, len(os.sched_getaffinity(0)) // local))
        options = ["--threads", str(number), *(["--gpus", gpus, "--per-gpu", str(per_gpu)] if named else [])]

        with prepared(stages or [], number, "local", local) as (submission, needs):
            if not needs:
                typer.echo("no stage lacks a job")
                gather()
                return
            process = start(submission, needs, local, options)
        typer.echo(f"{len(needs)} stages, {local} at once, threads of each: {number}; `seal status` shows them")
        if wait:
            status = process.wait()
            typer.echo(submission.log("gather").read_text(encoding="utf-8"), nl=False)
            raise typer.Exit(1 if status else 0)


@app.command()
def status(follow: Annotated[bool, typer.Option("--follow", help="until all has ended")] = False) -> None:
    """Say of each stage of the newest submission whether it is done, at work, waiting or failed."""
    from rich.console import Console

    from seal.cluster.status import show_status

    with one_line_errors():
        while show_status(Console(soft_wrap=True)) and follow:
            time.sleep(FOLLOWED)


@app.command()
def gather(
    stages: Annotated[list[str] | None, typer.Argument(metavar="[STAGE ...]", help="fail where these lack")] = None,
    digest: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Take over what the jobs have done into dvc.lock and results/; with all there, make curves, claims and report."""
    from seal.cluster.gather import gather as gather_all

    with one_line_errors():
        gather_all(stages or [], digest)


@app.command()
def cancel() -> None:
    """End what was submitted here, and nothing else; what is done stays, and trainings go on from their last epoch."""
    from seal.cluster.processes import end_all

    with one_line_errors():
        typer.echo(f"{end_all()} processes ended; submitting again goes on")
