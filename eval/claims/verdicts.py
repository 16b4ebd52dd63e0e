"""Every claim judged on the record: its comparisons, its conditions, and Holm's levels for the primary ones.

The stage, eval/claims/__main__.py, asks; eval/claims/output.py tells.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.claims.claim import Claim
from eval.claims.claim_list import Claims
from eval.claims.comparisons import Comparison, comparisons
from eval.claims.conditions import Check, check
from eval.claims.rule import LEVEL, UNJUDGED, Judgement, Verdict, holm_levels, judge, p_value, worst
from seal.runs import Runs

OF_ONE_STUDY = ("tier", "data_sha256", "model")  # what all runs have in common


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

    @property
    def files(self) -> list[Path]:
        compared = [comparison.files for comparison in self.comparisons]
        checked = [condition.files for condition in self.checks]
        return sorted(frozenset[Path]().union(*compared, *checked))


def evaluate_claims(runs: Runs, claims: Claims) -> list[ClaimVerdict]:
    """Judge every claim; the primary ones by Holm's levels.

    Raises UserError for runs that are not of one study, BrokenEvidence, which names the file.
    """
    study = {key: runs.the_same(key) for key in OF_ONE_STUDY}
    compared = [tuple(comparisons(runs, claim)) for claim in claims.claims]
    p_values = [_largest_p(members) for members in compared]

    primary = [index for index, claim in enumerate(claims.claims) if claim.primary]
    levels = dict(zip(primary, holm_levels([p_values[index] for index in primary]), strict=True))

    verdicts = []
    for index, claim in enumerate(claims.claims):
        judgements = _judgements(compared[index], levels.get(index, LEVEL))
        checks = _checks(runs, claims, claim, compared[index])
        verdict, reason = _verdict(study["tier"], compared[index], judgements, checks)
        verdicts.append(ClaimVerdict(claim, verdict, reason, compared[index], judgements, checks, p_values[index]))
    return verdicts


def _largest_p(compared: Sequence[Comparison]) -> float | None:
    """None where a comparison has none."""
    p_values = []
    for comparison in compared:
        p = p_value(comparison.sample) if comparison.sample else None
        if p is None:
            return None
        p_values.append(p)
    return max(p_values, default=None)


def _judgements(compared: Sequence[Comparison], level: float) -> tuple[Judgement | None, ...]:
    return tuple(judge(comparison.sample, level) if comparison.sample else None for comparison in compared)


def _checks(runs: Runs, claims: Claims, claim: Claim, compared: Sequence[Comparison]) -> tuple[Check, ...]:
    """The claim's conditions, for the runs that its comparisons use; none where they use none."""
    used = set[tuple[str, int]]()
    for comparison in compared:
        used.update((arm, seed) for arm in comparison.arms() for seed in comparison.seeds)
    return tuple(check(name, claims.conditions[name], runs, used) for name in claim.conditions if used)


def _verdict(
    tier: Any, compared: Sequence[Comparison], judgements: Sequence[Judgement | None], checks: Sequence[Check]
) -> tuple[Verdict, str]:
    """The claim's verdict, and the reason of one that says nothing on the claim itself."""
    absent = [comparison.absent for comparison in compared if comparison.absent]
    judged = [judgement.verdict for judgement in judgements if judgement]
    verdict = worst([*judged, *(Verdict(missing.status) for missing in absent)])
    if verdict in UNJUDGED:
        return verdict, next(missing.reason for missing in absent if missing.status == verdict)
    if tier == "smoke":
        return Verdict.NOT_COMPARABLE, "the smoke tier is too small for any claim"

    failures = [f"{condition.name}: {failure}" for condition in checks for failure in condition.failures]
    if failures:
        others = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        return Verdict.NOT_COMPARABLE, failures[0] + others
    return verdict, ""
