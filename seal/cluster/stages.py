"""Stages by their names: which are run where, and which each needs."""

import re
from collections.abc import Collection, Mapping, Sequence

from seal.errors import UserError

HERE = ("fetch", "pack")  # run where `seal submit` runs: nodes have no internet, and archives are no output of DVC's
LAST = ("curves", "claims", "report")  # read all of results/; run by `gather`
NAME = re.compile(r"[\w.@-]+")  # of a stage, for make, file names and Slurm


def kind(stage: str) -> str:
    """`train` of `train@seal-0`."""
    return stage.partition("@")[0]


def with_all_above(stages: Collection[str], needs: dict[str, list[str]]) -> set[str]:
    """These stages, and what they need, all the way up; `needs` in the pipeline's order."""
    wanted = {*stages}
    for stage in reversed(needs):  # a stage before those that it needs
        if stage in wanted:
            wanted.update(needs[stage])
    return wanted


def needs_among(needs: Mapping[str, Sequence[str]], stages: Collection[str]) -> dict[str, list[str]]:
    """These stages, with those right above each that are among them too."""
    among = {}
    for stage in stages:
        among[stage] = [above for above in needs[stage] if above in stages]
    return among


def wanted_stages(asked: Sequence[str], jobs: Sequence[str], needs: dict[str, list[str]]) -> set[str]:
    """Those asked for by name, or by the name before the @, with all above them; without any, every stage.

    Raises UserError for one that does not exist, and one whose name is none for a file.
    """
    wanted: set[str] = set()
    for name in asked:
        stages = {stage for stage in jobs if name in (stage, kind(stage))}
        if not stages:
            kinds = ", ".join(dict.fromkeys(map(kind, jobs)))
            raise UserError(f"found no stage {name}, expected one of {kinds}, or as {jobs[0]}")
        wanted |= stages

    wanted = with_all_above(wanted or jobs, needs)
    for stage in wanted:
        if not NAME.fullmatch(stage):
            raise UserError(f"found the stage {stage!r}, expected letters, digits, and _ . @ - in its name; rename it")
    return wanted
