"""What a Slurm job asks for where its user says nothing: time by the plan, memory by what its stages took before.

A training goes on from its last epoch, so that a limit too short costs a restart and no result.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from seal.config import load_params
from seal.planning.places import seconds_of
from seal.record import TIMINGS, read_timings

Jobs = Mapping[str, Sequence[str]]  # the stages of each

SPARE = 600.0  # s
TWICE = 2.0
MEMORY = 1.5  # times the largest that was seen


def limits_of(jobs: Jobs, chosen: Sequence[str], partition_minutes: float) -> dict[str, list[str]]:
    """Options for sbatch by job: `--time` within the partition's limit, `--mem`; none that `chosen` has already."""
    options: dict[str, list[str]] = {label: [] for label in jobs}
    if not has_option(chosen, "--time", "-t"):
        seconds = seconds_of([*chain.from_iterable(jobs.values())], load_params())
        for label, stages in jobs.items():
            minutes = (TWICE * sum(seconds[stage] for stage in stages) + SPARE) / 60
            options[label].append(f"--time={max(1, round(min(minutes, partition_minutes)))}")

    if not has_option(chosen, "--mem"):
        for label, stages in jobs.items():
            peaks = [*chain.from_iterable(map(peaks_mb, stages))]
            if peaks:
                options[label].append(f"--mem={round(MEMORY * max(peaks))}")
    return options


def has_option(options: Sequence[str], *starts: str) -> bool:
    return any(option.startswith(starts) for option in options)


def peaks_mb(stage: str) -> list[float]:
    """The largest resident set of each run of a stage here; none where it has not run."""
    path = TIMINGS / f"{stage}.csv"
    if not path.exists():
        return []
    return [float(row["peak_mb"]) for row in read_timings(path)]
