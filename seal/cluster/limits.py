"""What a Slurm job asks for where its user says nothing: time by the plan, memory by what its stages took before.

A training goes on from its last epoch, so that a limit too short costs a restart and no result.
"""

from collections.abc import Mapping, Sequence

from seal.config import load_params
from seal.planning.places import seconds_of
from seal.record import TIMINGS, read_timings

Jobs = Mapping[str, Sequence[str]]  # the stages of each

SPARE = 600.0  # s
TWICE = 2.0
MEMORY = 1.5  # times the largest that was seen


def limits_of(jobs: Jobs, given: Sequence[str], partition_minutes: float) -> dict[str, list[str]]:
    """Options for sbatch by job: `--time` within the partition's limit, `--mem`; none of those that are given."""
    options: dict[str, list[str]] = {label: [] for label in jobs}
    if not any(option.startswith(("--time", "-t")) for option in given):
        seconds = seconds_of([stage for stages in jobs.values() for stage in stages], load_params())
        for label, stages in jobs.items():
            minutes = (TWICE * sum(seconds[stage] for stage in stages) + SPARE) / 60
            options[label].append(f"--time={max(1, round(min(minutes, partition_minutes)))}")

    if not any(option.startswith("--mem") for option in given):
        for label, stages in jobs.items():
            peaks = [peak for stage in stages for peak in peaks_mb(stage)]
            options[label] += [f"--mem={round(MEMORY * max(peaks))}"] if peaks else []
    return options


def peaks_mb(stage: str) -> list[float]:
    """The largest resident set of each run of a stage here; none where it has not run."""
    path = TIMINGS / f"{stage}.csv"
    if not path.exists():
        return []
    return [float(row["peak_mb"]) for row in read_timings(path)]
