"""What a Slurm job asks for where its user says nothing: time by the plan, memory by what its stages took before.

A training goes on from its last resume point, so that a limit too short costs a restart and no result.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import chain

from seal.config import Params, load_params
from seal.errors import ConfigError
from seal.planning.earlier import has_active_parameters
from seal.planning.places import seconds_of
from seal.record import TIMINGS
from seal.stage_names import parts
from seal.timings import read_timings

Jobs = Mapping[str, Sequence[str]]  # the stages of each

SPARE = 600.0  # s
TWICE = 2.0
MEMORY = 1.5  # times the largest that was seen
OF_TIME = ("--time", "-t", "SBATCH_TIMELIMIT")
OF_MEMORY = (
    "--mem", "--mem-per-cpu", "--mem-per-gpu", "SBATCH_MEM_PER_NODE", "SBATCH_MEM_PER_CPU", "SBATCH_MEM_PER_GPU",
)  # fmt: skip


def limits_of(jobs: Jobs, chosen: Sequence[str], partition_minutes: float) -> dict[str, list[str]]:
    """Options for sbatch by job: `--time` within the partition's limit, `--mem`; none that `chosen` has already, and
    none that nobody knows."""
    options: dict[str, list[str]] = {label: [] for label in jobs}
    if not jobs:
        return options

    params = load_params()
    if not is_chosen(chosen, OF_TIME):
        for label, minutes in minutes_by_the_plan(jobs, params).items():
            options[label].append(f"--time={max(1, round(min(minutes, partition_minutes)))}")

    if not is_chosen(chosen, OF_MEMORY):
        for label, stages in jobs.items():
            peaks = [*chain.from_iterable(peaks_mb(stage, params) for stage in stages)]
            if peaks:
                options[label].append(f"--mem={round(MEMORY * max(peaks))}")
    return options


def minutes_by_the_plan(jobs: Jobs, params: Params) -> dict[str, float]:
    """Twice what the plan says, and some; for none, with a warning, where it does not know the network's costs."""
    try:
        seconds = seconds_of([*chain.from_iterable(jobs.values())], params)
    except ConfigError as error:
        remedy = "jobs ask for no --time and get the partition's own; --sbatch=--time=MINUTES asks for one"
        print(f"warning: {error}; {remedy}", file=sys.stderr)
        return {}

    minutes = {}
    for label, stages in jobs.items():
        minutes[label] = (TWICE * sum(seconds[stage] for stage in stages) + SPARE) / 60
    return minutes


def is_chosen(options: Sequence[str], names: Sequence[str]) -> bool:
    """Whether sbatch gets one of these from its options, as --time=5, --time 5 or -t5, or from its environment."""
    options_named = {option.partition("=")[0] if option.startswith("--") else option[:2] for option in options}
    return any(name in options_named or os.environ.get(name) for name in names)


def peaks_mb(stage: str, params: Params) -> list[float]:
    """The largest resident set of a stage's last run here; none where it has not run by these parameters."""
    path = TIMINGS / f"{stage}.csv"
    if not path.exists() or not has_active_parameters(parts(stage), params):
        return []
    return [float(row["peak_mb"]) for row in read_timings(path)[-1:]]
