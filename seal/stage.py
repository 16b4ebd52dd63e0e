"""What stands around every stage of the pipeline, whatever the stage does.

A stage's `main` reads its arguments, and works inside `stage`: what the user can mend ends in one line, and a good end
adds a row to timings/<stage>.csv.

    def main(arguments: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(prog="python -m seal.train")
        parser.add_argument("--run", required=True, metavar="ARM-SEED", help="e.g. seal-0")
        chosen = parser.parse_args(arguments)
        with stage(f"train@{chosen.run}") as timing:
            timing.unit, timing.lower = "images", "training.batch_size"
            timing.rate, timing.backend, timing.capture = run_stage(chosen.run, load_params())

A command that is only at times a stage says so: `stage("claims", timed=bool(chosen.out) and not chosen.record)`. What
is to fail although its time was noted, as REFUTED under --strict, fails below the block, in `one_line_errors` alone.
A stage that DVC has started ends with DVC: seal/interruption.py, before the stage's own imports.

Every stage imports this file: so no torch and no mlflow here, and what takes long only inside what needs it.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from seal.errors import UserError, one_line_errors
from seal.files import is_locked
from seal.timings import append_timing

if TYPE_CHECKING:
    from rich.progress import Progress

    from seal.sections import Dataset

Report = Callable[[int, int], None]  # (done, total)
NOT_DETERMINISTIC = " does not have a deterministic implementation"  # torch's words after an operation's name


@dataclass
class Timing:
    """What a stage says of its work, for its row of timings."""

    done: float = 0.0  # in `unit`; divided by the stage's seconds unless `rate` is given
    unit: str = ""
    rate: float | None = None  # in `unit` per second
    backend: str = ""
    capture: str = ""  # whether a training's steps were captured
    lower: str = "the batch size"  # the parameter to lower where the GPU's memory is too small


@contextmanager
def stage(label: str, *, timed: bool = True, prefix: str = "error", resumes: str = "") -> Iterator[Timing]:
    """The block is a stage: a UserError ends the process with `prefix: message` and status 1, Ctrl-C with 130 and what
    `resumes` says of the same command.

    A block that ends well adds a row to timings/<stage>.csv, unless `timed` is false. The stage is DVC's name of it
    where DVC has started it, else `label`: of a base run, and of arms of the extra and sensitivity lists, another name.
    """
    began = time.perf_counter()
    timing = Timing()
    with one_line_errors(prefix, resumes):
        refuse_stage_of_another_job()
        try:
            yield timing
        except RuntimeError as error:
            operation, refused, _ = str(error).partition(NOT_DETERMINISTIC)
            if refused:
                remedy = "set runtime.deterministic to false, or take a network without it"
                raise UserError(f"{operation}{NOT_DETERMINISTIC} on a GPU; {remedy}") from None
            if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
                raise
            words = ". ".join(str(error).split(". ")[:2])
            raise UserError(f"{words}; lower {timing.lower}") from None

        seconds = time.perf_counter() - began
        if timing.rate is None and timing.done:
            timing.rate = timing.done / seconds
        if timed:
            name = os.environ.get("DVC_STAGE", label)
            append_timing(
                name, seconds, rate=timing.rate, unit=timing.unit, backend=timing.backend, capture=timing.capture
            )


def refuse_stage_of_another_job() -> None:
    """A job runs its own stage alone, and a stage that a job is at work on is not run beside it (seal/cluster).

    Else what stands above a stage would be run twice: Slurm takes a job that it has forgotten for one that ended well.
    """
    name, mine = os.environ.get("DVC_STAGE"), os.environ.get("SEAL_STAGE")
    if name is None:
        return
    if mine not in (None, name):
        raise UserError(f"found {name} to be run in the job of {mine}, expected it done before; submit again")

    if is_locked(Path("cluster/lock") / name):
        raise UserError(f"{name} is at work as a job; `seal status` shows it, `seal cancel` ends it")


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar on stderr that is gone at the end, drawn on a terminal only. Its console prints above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar


@contextmanager
def dataset_stage(step: str, unit: str, arguments: Sequence[str] | None) -> Iterator[tuple[str, "Dataset", Report]]:
    """A stage of a dataset, `python -m seal.data.<step> NAME`, whose errors begin with its name.

    Gives the name, the dataset's parameters, and what takes reports of how many `unit` are done, of how many.
    """
    from seal.config import load_params

    parser = argparse.ArgumentParser(prog=f"python -m seal.data.{step}")
    parser.add_argument("name", help="a key of `datasets` in params.yaml")
    name = parser.parse_args(arguments).name
    label = f"{step}@{name}"

    resumes = "the same command goes on with what is there"
    with stage(label, prefix=label, resumes=resumes) as timing, progress_bar() as bar:
        datasets = load_params().datasets
        if name not in datasets:
            raise UserError(f"no such dataset, expected one of {', '.join(datasets)}")
        task = bar.add_task(f"{label}, {unit}", total=0)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            timing.done, timing.unit = done, unit if done else ""

        yield name, datasets[name], report
