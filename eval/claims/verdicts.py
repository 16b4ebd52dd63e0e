"""Every claim judged on the record: its comparisons, its conditions, and Holm's levels for the primary ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.claims.claim import Claim
from eval.claims.claim_list import Claims
from eval.claims.comparisons import Comparison, comparisons
from eval.claims.conditions import Check, check
from eval.claims.evidence import Record
from eval.claims.rule import LEVEL, UNJUDGED, Judgement, Verdict, holm_levels, judge, p_value, worst


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
        read = [each.files for each in self.comparisons] + [each.files for each in self.checks]
        return sorted(frozenset[Path]().union(*read))


def evaluate_claims(record: Record, claims: Claims) -> list[ClaimVerdict]:
    """Judge every claim; the primary ones by Holm's levels. Raises BrokenEvidence, which names the file."""
    gathered = [tuple(comparisons(record, claim)) for claim in claims.claims]
    p_values = [_largest_p(found) for found in gathered]
    primary = [index for index, claim in enumerate(claims.claims) if claim.primary]
    levels = dict(zip(primary, holm_levels([p_values[index] for index in primary]), strict=True))
    return [
        _verdict(record, claims, claim, gathered[index], levels.get(index, LEVEL), p_values[index])
        for index, claim in enumerate(claims.claims)
    ]


def _largest_p(found: Sequence[Comparison]) -> float | None:
    values = [p_value(each.sample) if each.sample else None for each in found]
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _verdict(
    record: Record, claims: Claims, claim: Claim, found: tuple[Comparison, ...], level: float, p: float | None
) -> ClaimVerdict:
    judgements = tuple(judge(each.sample, level) if each.sample else None for each in found)
    runs = {(arm, seed) for each in found for arm in each.arms() for seed in each.seeds}
    checks = tuple(check(name, claims.conditions[name], record, runs) for name in claim.conditions if runs)
    failed = [f"{each.name}: {words}" for each in checks for words in each.failures]
    absent = [each.absent for each in found if each.absent]
    verdict, reason = worst([one.verdict for one in (*judgements, *absent) if one]), ""
    if verdict in UNJUDGED:
        reason = next(str(each) for each in absent if each.verdict == verdict)
    elif record.tier == "smoke":
        verdict, reason = Verdict.NOT_COMPARABLE, "the smoke tier is too small for any claim"
    elif failed:
        verdict, reason = Verdict.NOT_COMPARABLE, failed[0] + (f", and {len(failed) - 1} more" if failed[1:] else "")
    return ClaimVerdict(claim, verdict, reason, found, judgements, checks, p)
