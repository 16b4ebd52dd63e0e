"""How a cell of a table says numbers: a mean with its spread over seeds, the paper's number beside it, or why none."""

import statistics
from collections.abc import Sequence

from eval.claims.rule import limit_of_all
from eval.report.numbers import SeedNumbers

NOTHING = "–"


def over_seeds(numbers: SeedNumbers, digits: int = 2) -> str:
    """The mean, with the deviation over seeds where there are several; why there is none."""
    return mean_and_spread(numbers.values, numbers.scale, digits) if numbers.readings else why_none(numbers)


def percent(fractions: Sequence[float]) -> str:
    return mean_and_spread(fractions, 100)


def mean_and_spread(values: Sequence[float], scale: float, digits: int = 2) -> str:
    if not values:
        return NOTHING

    mean = f"{mean_of(values, scale):.{digits}f}"
    return f"{mean} ± {scale * statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def mean_of(values: Sequence[float], scale: float = 1.0) -> float:
    return scale * statistics.mean(values)


def beside(ours: str, paper: float | None) -> str:
    """Ours, and the paper's number in brackets."""
    return ours if paper is None else f"{ours} {in_brackets(paper)}"


def in_brackets(paper: float | None) -> str:
    """The paper's number alone."""
    return NOTHING if paper is None else f"({paper:.2f})"


def with_diverged(ours: str, diverged: int) -> str:
    """Ours, and how many runs have no such number because they diverged."""
    if not diverged:
        return ours

    count = f"{diverged} diverged"
    return count if ours == NOTHING else f"{ours}, {count}"


def why_none(numbers: SeedNumbers) -> str:
    """Where no seed has a number: why it was skipped; nothing where it was not asked for."""
    for missing in numbers.missing:
        if missing.status != "NOT-RUN":
            return missing.status
    return NOTHING


def below_limit(numbers: SeedNumbers) -> str | None:
    """What is said of a share of which no seed has seen any: below what it is, at 95%. None where it says no more."""
    limits = [reading.limit for reading in numbers.readings]
    if any(numbers.values) or not limits or not all(limits):
        return None
    return f"0, below {numbers.scale * limit_of_all(limits):.1f}"
