"""Stages by their names: which are run where, and which each needs."""

from collections.abc import Collection, Mapping, Sequence

HERE = ("fetch", "pack")  # run where `seal submit` runs: nodes have no internet, and archives are no output of DVC's
LAST = ("curves", "claims", "report")  # read all of results/; run by `gather`


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
