"""The commands `seal submit`, `status`, `gather` and `cancel`; seal/cli.py shows them among its own."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from seal.errors import UserError, one_line_errors

app = typer.Typer()
FOLLOWED = 5.0  # s between two looks
RESTARTS = 20  # of a job, where none are named


@app.command()
def submit(
    stages: Annotated[
        list[str] | None, typer.Argument(metavar="[STAGE ...]", help="these, as train@seal-0 or train, and those above")
    ] = None,
    local: Annotated[int | None, typer.Option(metavar="N", help="on this machine, N at once")] = None,
    slurm: Annotated[bool, typer.Option("--slurm", help="on a Slurm cluster")] = False,
    threads: Annotated[int | None, typer.Option(help="of each job; results differ in bits with it", min=1)] = None,
    gpus: Annotated[str, typer.Option(help="as 0,1: the GPUs to share out (--local)")] = "",
    per_gpu: Annotated[int | None, typer.Option(help="jobs at once on a GPU (--local); docs/gpu.md", min=1)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="until all has ended (--local)")] = False,
    sbatch: Annotated[list[str] | None, typer.Option(metavar="OPTION", help="for sbatch, as it is (--slurm)")] = None,
    group: Annotated[
        Literal["run", "stage"] | None,
        typer.Option(help="a job for all evaluations of a run, or for each (--slurm); for a run unless said"),
    ] = None,
    remote: Annotated[
        str, typer.Option(help="name of a DVC remote, by which jobs share results without a common disk")
    ] = "",
    image: Annotated[str, typer.Option(help="an Apptainer image to run jobs in (--slurm)")] = "",
    restarts: Annotated[
        int | None, typer.Option(help="of a job that its time limit ends (--slurm); 20 unless said", min=0)
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry", help="fetch, pack, take over; then print what would be sent (--slurm)")
    ] = False,
) -> None:
    """Send what is missing as jobs, many at once, each in a copy of the project as it is; and gather what they make."""
    from seal.cluster.submitting import Handing, submit_locally, submit_to_slurm

    with one_line_errors():
        if slurm == (local is not None) or (local is not None and local < 1):
            raise UserError(f"found --local {local}, expected --slurm, or a number of jobs at once, as --local 2")
        if local is None:
            refuse("--slurm", {"--gpus": gpus, "--per-gpu": per_gpu, "--wait": wait})
            if image and not Path(image).is_file():
                raise UserError(f"found no --image {image}, expected a file; docker/README.md says how to build one")
            image_path = str(Path(image).absolute()) if image else ""
            most_restarts = RESTARTS if restarts is None else restarts
            handing = Handing(sbatch or [], group != "stage", most_restarts, image_path, dry)
            submit_to_slurm(stages or [], threads, remote, handing)
        else:
            of_slurm = {"--sbatch": sbatch, "--group": group, "--image": image, "--restarts": restarts, "--dry": dry}
            refuse("--local", of_slurm)
            submit_locally(stages or [], local, threads, remote, [*filter(None, gpus.split(","))], per_gpu, wait)


def refuse(mode: str, options: Mapping[str, object]) -> None:
    """Raises UserError where one of these is given, which that mode does not have."""
    superfluous = [name for name, value in options.items() if value not in (None, "") and value is not False]
    if superfluous:
        raise UserError(f"found {' '.join(superfluous)}, expected none of it with {mode}; leave it out")


@app.command()
def status(follow: Annotated[bool, typer.Option("--follow", help="until all has ended")] = False) -> None:
    """Say of each stage that the newest submission sent or found done how it stands: at work, waiting, failed, done."""
    from seal.cluster.left import time_left
    from seal.cluster.status import OPEN, is_gathering, newest_submission, rows_of, stages_in, sums_of, text_of

    with one_line_errors():
        while True:
            submission = newest_submission()
            rows = rows_of(submission)
            gathering = is_gathering(submission, rows)
            typer.echo("\n".join([text_of(rows), sums_of(submission, rows, gathering), *time_left(submission, rows)]))
            if not (follow and (gathering or stages_in(rows, OPEN))):
                return
            time.sleep(FOLLOWED)


@app.command()
def gather(
    stages: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STAGE ...]", help="fail where any of these is missing; by default, of those sent"),
    ] = None,
    digest: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Take over what the jobs have done into dvc.lock and results/; with all there, make curves, claims and report."""
    from seal.cluster.gather import gather as gather_all

    with one_line_errors():
        gather_all(stages or [], digest)


@app.command()
def cancel() -> None:
    """End all that was submitted from this project; what is done stays, trainings go on from the last resume point."""
    from seal.cluster.processes import end_all
    from seal.cluster.queue import cancel_all
    from seal.cluster.submission import CLUSTER, submissions
    from seal.files import is_locked

    with one_line_errors():
        jobs = 0
        try:
            if any(submission.facts["how"] == "slurm" for submission in submissions()):
                jobs = cancel_all()
        finally:  # where Slurm does not answer too
            typer.echo(f"{jobs} jobs and {end_all()} processes ended; submitting again goes on")
            if is_locked(CLUSTER / "submit.lock"):
                typer.echo("a `seal submit` is under way here and goes on sending; end it, and cancel again")
