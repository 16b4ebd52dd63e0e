"""What the two data stages have around them: their argument, params.yaml, a progress bar, timing, errors."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from seal.config import ConfigError, load_params
from seal.data.download import Report
from seal.errors import UserError
from seal.record import append_timing
from seal.sections import Dataset


@contextmanager
def data_stage(stage: str, unit: str, arguments: Sequence[str] | None) -> Iterator[tuple[str, Dataset, Report]]:
    """The dataset that the command line names, its parameters, and a bar to report (done, total) to.

    An error of the data or the parameters ends the process with one line and status 1. A row of timings is added.
    """
    parser = argparse.ArgumentParser(prog=f"python -m seal.data.{stage}")
    parser.add_argument("name", help="a key of `datasets` in params.yaml")
    name, start = parser.parse_args(arguments).name, time.perf_counter()
    text = TextColumn("{task.description} {task.completed:.0f}/{task.total:.0f} {task.fields[unit]}")
    columns = (text, BarColumn(), TimeRemainingColumn())
    try:
        datasets = load_params().datasets
        if name not in datasets:
            raise ConfigError(f"no such dataset, expected one of {', '.join(datasets)}")
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"{stage}@{name}", total=0, unit=unit)
            yield name, datasets[name], lambda done, total: bar.update(task, completed=done, total=total)
            done = bar.tasks[task].completed
    except (UserError, BrokenExecutor) as error:
        sys.exit(f"{stage}@{name}: {error}")
    except KeyboardInterrupt:
        print(f"{stage}@{name}: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    seconds = time.perf_counter() - start
    append_timing(f"{stage}@{name}", seconds, rate=done / seconds if done else None, unit=unit if done else "")
