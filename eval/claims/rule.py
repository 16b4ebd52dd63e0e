"""The rule from evidence to verdict: the unit of evidence is the seed, and test items widen the interval.

Numbers in, a judgement out: eval/claims/verdicts.py brings them, and this file knows no record and no claim.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtrinc, ndtri, stdtrit  # type: ignore[import-untyped]

from seal.record import ROUNDING

LEVEL = 0.05  # two-sided, before Holm's adjustment
POWER = 0.8
FEWEST_SEEDS = 3


class Verdict(StrEnum):
    SUPPORTED = "SUPPORTED"
    WEAK = "WEAK"
    INCONCLUSIVE = "INCONCLUSIVE"
    REFUTED = "REFUTED"
    NOT_COMPARABLE = "NOT-COMPARABLE"
    NOT_RUN = "NOT-RUN"
    SKIPPED_DATA = "SKIPPED-DATA"


# What evidence can say, the worst first: a chain's verdict is its worst pair's.
JUDGED = (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.WEAK, Verdict.SUPPORTED)
# Why there is no verdict, that which decides first.
UNJUDGED = (Verdict.NOT_COMPARABLE, Verdict.NOT_RUN, Verdict.SKIPPED_DATA)


def by_weight(verdict: str, mean: float) -> tuple[int, float]:
    """The order in which comparisons decide: the worst verdict first, and of such the smallest difference."""
    return JUDGED.index(Verdict(verdict)), mean


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """A chain's verdict: without a verdict on every pair there is none on the chain; else the worst pair's."""
    return next(verdict for verdict in (*UNJUDGED, *JUDGED) if verdict in verdicts)


@cache
def t_quantile(level: float, seeds: int) -> float:
    """Student's t that is left, on both sides together, with probability `level`."""
    return -float(stdtrit(seeds - 1, level / 2))


@cache
def z_quantile(level: float) -> float:
    return -float(ndtri(level / 2))


@cache
def noncentrality(level: float, seeds: int) -> float:
    """The noncentral t's parameter at which a two-sided t test of this level rejects with the wanted power."""
    return float(nctdtrinc(seeds - 1, 1 - POWER, t_quantile(level, seeds)))


def limit_of_all(limits: Sequence[float]) -> float:
    """The 95% upper limit of a share by all seeds together, from each one's own.

    Where none of n is seen it is 1 - 0.05^(1/n): n is in proportion to 1 / log(1 - limit), and the seeds' n add up. A
    limit of 1 is of none looked at.
    """
    tests = sum(1 / math.log1p(-limit) for limit in limits if limit < 1)
    return -math.expm1(1 / tests) if tests else 1.0


@dataclass(frozen=True)
class Sample:
    """Paired differences, one a seed, positive on the claimed side of a boundary at zero."""

    differences: tuple[float, ...]  # [n]
    item_error: float = 0.0  # v / sqrt(N): of the seed-averaged difference, over test items; 0 where there are none

    def __post_init__(self) -> None:
        if not self.differences or not np.isfinite([*self.differences, self.item_error]).all():
            raise ValueError(
                f"found differences {self.differences} and item error {self.item_error}, "
                "expected finite numbers, at least one"
            )

    @property
    def seeds(self) -> int:
        return len(self.differences)

    @property
    def mean(self) -> float:
        return math.fsum(self.differences) / self.seeds

    @property
    def seed_error(self) -> float:
        """sd / sqrt(n); NaN for one seed."""
        if self.seeds == 1:
            return math.nan
        return float(np.std(self.differences, ddof=1)) / math.sqrt(self.seeds)


@dataclass(frozen=True)
class Judgement:
    """A comparison's verdict and what it rests on; numbers are differences to the boundary, plus `boundary`."""

    verdict: Verdict
    mean: float
    interval: tuple[float, float] | None  # None for one seed: no spread over seeds is known
    item_interval: tuple[float, float] | None  # over test items alone, for one seed: "these two checkpoints differ"
    seeds: int
    level: float
    detectable: float | None  # from the boundary, with 80% power, at this n and spread

    def shifted(self, boundary: float) -> "Judgement":
        """The same in the measure's own terms: differences to zero."""

        def shift(interval: tuple[float, float] | None) -> tuple[float, float] | None:
            return None if interval is None else (interval[0] + boundary, interval[1] + boundary)

        return replace(
            self, mean=self.mean + boundary, interval=shift(self.interval), item_interval=shift(self.item_interval)
        )


def half_width(sample: Sample, level: float = LEVEL) -> float:
    """sqrt((t sd/sqrt n)^2 + (z v/sqrt N)^2), both quantiles at the level, t at n-1 degrees of freedom."""
    return math.hypot(t_quantile(level, sample.seeds) * sample.seed_error, z_quantile(level) * sample.item_error)


def p_value(sample: Sample) -> float | None:
    """The smallest level at which the interval leaves the boundary out; None for one seed."""
    if sample.seeds == 1:
        return None
    if abs(sample.mean) <= ROUNDING:
        return 1.0
    if half_width(sample) <= ROUNDING:
        return 0.0

    low, high = -300.0, 0.0  # of log10(level); the interval narrows as the level rises
    for _ in range(60):
        middle = (low + high) / 2
        if half_width(sample, 10**middle) < abs(sample.mean):
            high = middle
        else:
            low = middle
    return float(10**high)


def judge(sample: Sample, level: float = LEVEL) -> Judgement:
    """The verdict on a claim that the differences are positive.

    SUPPORTED, REFUTED: at least three seeds, and the interval wholly on the claimed side, or wholly on the other.
    WEAK: the claimed sign. INCONCLUSIVE: the other sign, or none. A mean within rounding of zero has none.
    """
    n, mean = sample.seeds, sample.mean
    half = half_width(sample, level) if n > 1 else math.inf
    if n >= FEWEST_SEEDS and abs(mean) > max(half, ROUNDING):
        verdict = Verdict.SUPPORTED if mean > 0 else Verdict.REFUTED
    else:
        verdict = Verdict.WEAK if mean > ROUNDING else Verdict.INCONCLUSIVE

    items = z_quantile(level) * sample.item_error
    return Judgement(
        verdict,
        mean,
        interval=(mean - half, mean + half) if n > 1 else None,
        item_interval=(mean - items, mean + items) if n == 1 and items > ROUNDING else None,
        seeds=n,
        level=level,
        detectable=detectable_difference(sample, level),
    )


def detectable_difference(sample: Sample, level: float = LEVEL) -> float | None:
    """The true difference that n seeds of this spread would tell from the boundary in 80% of studies.

    None for fewer seeds than decide anything. The t test's for seeds and the normal test's for items, added as the
    interval adds them.
    """
    if sample.seeds < FEWEST_SEEDS:
        return None

    items = (z_quantile(level) + z_quantile(2 * (1 - POWER))) * sample.item_error
    return math.hypot(noncentrality(level, sample.seeds) * sample.seed_error, items)


def holm_levels(p_values: Sequence[float | None]) -> list[float]:
    """The level at which each of m claims is judged: the i-th smallest p at 0.05/(m-i+1), stopping at the first that
    fails, whose level the rest share. A claim without evidence counts among the m, and comes last."""
    m = len(p_values)
    order = sorted(range(m), key=lambda index: math.inf if p_values[index] is None else float(p_values[index] or 0))

    levels, level, stopped = [0.0] * m, 0.0, False
    for rank, index in enumerate(order):
        if not stopped:
            level = LEVEL / (m - rank)
            p = p_values[index]
            stopped = p is None or p >= level
        levels[index] = level
    return levels


def item_error(differences: NDArray[np.float64]) -> float:
    """v / sqrt(N) of per-item differences [seeds, N]: over the items, of the mean over seeds."""
    mean = differences.mean(axis=0)
    return float(mean.std(ddof=1)) / math.sqrt(len(mean)) if len(mean) > 1 else 0.0
