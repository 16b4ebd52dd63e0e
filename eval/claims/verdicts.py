"""Every claim judged on the record: its comparisons, its conditions, and Holm's levels for the primary ones.

The stage, eval/claims/__main__.py, asks; eval/claims/output.py tells.
"""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.claims.claim import Bound, Claim, ConditionName, OwnBest
from eval.claims.claim_list import Claims
from eval.claims.comparisons import Comparison, compare, comparisons
from eval.claims.conditions import Check, check
from eval.claims.normal_long import NORMAL_LONG, by_the_other
from eval.claims.own_best import at_own_best
from eval.claims.rule import (
    FEWEST_SEEDS,
    LEVEL,
    UNJUDGED,
    Judgement,
    Sample,
    Verdict,
    holm_levels,
    judge,
    p_value,
    worst,
)
from seal.runs import Runs

OF_ONE_STUDY = ("tier", "data_sha256", "model")  # what all runs have in common
OF_ONE_ARM = ("method", "training", "generations", "options")  # and what an arm's seeds have
Bounds = Mapping[ConditionName, Bound]


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim with its verdict and what that rests on."""

    claim: Claim
    verdict: Verdict
    reason: str  # of a verdict that is none on the claim itself
    comparisons: tuple[Comparison, ...]
    judgements: tuple[Judgement | None, ...]  # one a comparison; None without evidence
    checks: tuple[Check, ...]
    p: float | None  # the largest of its comparisons'; None where one of them has none
    as_first_stated: "ClaimVerdict | None" = None  # by conditions before one was restated, where that differs
    own_best: "ClaimVerdict | None" = None  # of a primary claim: with each method at its own best numbers
    where_held: "ClaimVerdict | None" = None  # of a primary claim that conditions stop: over the seeds where they hold
    other_normal_long: "ClaimVerdict | None" = None  # where one of two arms stands for Normal (long): by the other one

    @property
    def verdict_as_first_stated(self) -> Verdict | None:
        """By the conditions as first stated, where it is another."""
        first = self.as_first_stated
        return None if first is None or first.verdict == self.verdict else first.verdict

    @property
    def failing_seeds(self) -> set[int]:
        return set[int]().union(*(checked.failing_seeds for checked in self.checks))

    @property
    def judged(self) -> list[tuple[Comparison, Judgement]]:
        """The comparisons that have evidence."""
        pairs = zip(self.comparisons, self.judgements, strict=True)
        return [(comparison, judgement) for comparison, judgement in pairs if judgement]

    @property
    def files(self) -> list[Path]:
        files = set[Path]()
        for comparison in self.comparisons:
            files |= comparison.files
        for checked in self.checks:
            files |= checked.files
        for beside in (self.as_first_stated, self.own_best, self.where_held, self.other_normal_long):
            if beside is not None:
                files |= {*beside.files}
        return sorted(files)


def evaluate_claims(runs: Runs, claims: Claims) -> list[ClaimVerdict]:
    """Judge every claim; the primary ones by Holm's levels, and so where one's difference stands in another claim.

    Raises UserError for runs that are not of one study, BrokenEvidence, which names the file.
    """
    for key in OF_ONE_STUDY:
        runs.the_same(key)
    for arm in runs.arms:
        of_arm = Runs(runs.of(arm))
        for key in OF_ONE_ARM:
            of_arm.the_same(key)

    compared: dict[str, list[Comparison]] = {}
    for claim in claims.claims:
        compared[claim.id] = comparisons(runs, claim)
    primary = [claim.id for claim in claims.claims if claim.primary]
    p_values = [_largest_p(compared[name]) for name in primary]
    levels: dict[Sample, float] = {}
    for name, level in zip(primary, holm_levels(p_values), strict=True):
        levels |= {comparison.sample: level for comparison in compared[name] if comparison.sample}

    tier = runs.the_same("tier")
    bounds, first_bounds = claims.conditions_of(tier), claims.first_conditions()
    restated = None if bounds == first_bounds else first_bounds
    verdicts = []
    for claim in claims.claims:
        judged = _judged(runs, claim, compared[claim.id], levels, bounds, restated)
        if claim.primary:
            own_best = _own_best(runs, claim, claims.own_best.get(tier), bounds, restated)
            where_held = _where_held(runs, judged, bounds)
            judged = replace(judged, own_best=own_best, where_held=where_held)
        other = _other_normal_long(runs, judged, levels, bounds, restated)
        verdicts.append(replace(judged, other_normal_long=other))
    return verdicts


def _judged(
    runs: Runs,
    claim: Claim,
    compared: Sequence[Comparison],
    levels: Mapping[Sample, float],
    bounds: Bounds,
    first_bounds: Bounds | None = None,
) -> ClaimVerdict:
    """`levels`: of differences that are primary outcomes, in whichever claim they stand; `first_bounds`: of the
    conditions before they were restated."""
    judgements, checks = _judgements(compared, levels), _checks(runs, bounds, claim, compared)
    verdict, reason = _verdict(runs.the_same("tier"), compared, judgements, checks)
    judged = ClaimVerdict(
        claim, verdict, reason, tuple(compared), tuple(judgements), tuple(checks), _largest_p(compared)
    )  # fmt: skip
    if first_bounds is None:
        return judged

    first = _judged(runs, claim, compared, levels, first_bounds)
    same = (first.verdict, first.failing_seeds) == (verdict, judged.failing_seeds)
    return judged if same else replace(judged, as_first_stated=first)


def _own_best(
    runs: Runs, claim: Claim, own: OwnBest | None, bounds: Bounds, first_bounds: Bounds | None
) -> ClaimVerdict | None:
    """Beside the primary outcome, and none itself: at the level of any claim. None where no method has a best apart."""
    best = None if own is None else at_own_best(runs, claim, own)
    return None if best is None else _judged(runs, best, comparisons(runs, best), {}, bounds, first_bounds)


def _where_held(runs: Runs, judged: ClaimVerdict, bounds: Bounds) -> ClaimVerdict | None:
    """Beside a primary outcome too: a seed that fails a condition, or diverges, stops the claim on all. The same
    difference over the others; None where none fails, or where those that are left are too few for a verdict."""
    arms = set[str]().union(*(comparison.arms() for comparison in judged.comparisons))
    seeds = set.intersection(*(set(runs.seeds(arm)) for arm in arms))
    failing = {run.seed for run in runs if run.arm in arms and run.diverged_in is not None}

    of_others = _over_seeds(runs, judged, seeds - failing)
    for checked in _checks(runs, bounds, judged.claim, of_others):
        failing |= checked.failing_seeds

    left = seeds - failing
    if left == seeds or len(left) < FEWEST_SEEDS:
        return None
    return _judged(runs, judged.claim, _over_seeds(runs, judged, left), {}, bounds)


def _other_normal_long(
    runs: Runs, judged: ClaimVerdict, levels: Mapping[Sample, float], bounds: Bounds, first_bounds: Bounds | None
) -> ClaimVerdict | None:
    """Beside any claim: which arm stands for Normal (long) goes by accuracy in distribution, and what else is asked of
    it may hang on that. None where none was chosen, or the other could not stand for it or has no evidence."""
    chosen = set[str]().union(*(comparison.arms() & {*NORMAL_LONG} for comparison in judged.comparisons))
    if len(chosen) != 1:
        return None

    compared: list[Comparison] = []
    for comparison in judged.comparisons:
        pair = by_the_other(runs, comparison.term, comparison.other)
        if pair is None:
            return None
        compared.append(compare(runs, judged.claim, *pair))

    evidence = any(other.sample for other in compared if other.arms() & {*NORMAL_LONG})
    return _judged(runs, judged.claim, compared, levels, bounds, first_bounds) if evidence else None


def _over_seeds(runs: Runs, judged: ClaimVerdict, seeds: Collection[int]) -> list[Comparison]:
    """The comparisons of a verdict over these seeds alone, the same arm standing for Normal (long)."""
    of_seeds = runs.of_seeds(seeds)
    return [compare(of_seeds, judged.claim, comparison.term, comparison.other) for comparison in judged.comparisons]


def _largest_p(compared: Sequence[Comparison]) -> float | None:
    """None where a comparison has none."""
    p_values = []
    for comparison in compared:
        p = p_value(comparison.sample) if comparison.sample else None
        if p is None:
            return None
        p_values.append(p)
    return max(p_values, default=None)


def _judgements(compared: Sequence[Comparison], levels: Mapping[Sample, float]) -> list[Judgement | None]:
    judgements: list[Judgement | None] = []
    for comparison in compared:
        sample = comparison.sample
        judgements.append(judge(sample, levels.get(sample, LEVEL)) if sample else None)
    return judgements


def _checks(runs: Runs, bounds: Bounds, claim: Claim, compared: Sequence[Comparison]) -> list[Check]:
    """The claim's conditions, for the runs that its comparisons use; none where they use none."""
    used = set[tuple[str, int]]()
    for comparison in compared:
        used.update(itertools.product(comparison.arms(), comparison.seeds))
    if not used:
        return []
    return [check(name, bounds[name], runs, used) for name in claim.conditions]


def _verdict(
    tier: Any, compared: Sequence[Comparison], judgements: Sequence[Judgement | None], checks: Sequence[Check]
) -> tuple[Verdict, str]:
    """The claim's verdict, and the reason of one that says nothing on the claim itself."""
    reasons: dict[Verdict, str] = {}  # by a comparison's verdict; of several the first
    for comparison, judgement in zip(compared, judgements, strict=True):
        if judgement:
            reasons.setdefault(judgement.verdict, "")
        elif comparison.absent:
            reasons.setdefault(Verdict(comparison.absent.status), comparison.absent.reason)

    verdict = worst(list(reasons))
    if verdict in UNJUDGED:
        return verdict, reasons[verdict]
    if tier == "smoke":
        return Verdict.NOT_COMPARABLE, "the smoke tier is too small for any claim"

    failures: list[str] = []
    for condition in checks:
        failures += [f"{condition.name}: {failure}" for failure in condition.failures]
    if failures:
        others = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        return Verdict.NOT_COMPARABLE, failures[0] + others
    return verdict, ""
