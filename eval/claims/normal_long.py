"""Which arm stands for the paper's Normal (long): it does not say whether the cosine restarts, so both are run."""

import math

from eval.claims.claim import Term
from eval.claims.evidence import Absent, Record
from seal.record import ROUNDING

NORMAL_LONG = ("normal_long", "normal_long_cosine")
Pair = tuple[Term, Term | None]


def resolved(record: Record, term: Term, other: Term | None) -> list[Pair]:
    """The comparison with the better arm by validation images; with both where there are none."""
    if NORMAL_LONG[0] not in (term.arm, other and other.arm):
        return [(term, other)]
    own, partner = (term, other) if term.arm == NORMAL_LONG[0] else (other or term, term)
    seeds = set(record.seeds(partner.arm)) if partner and partner.arm != own.arm else None

    def put(side: Term, arm: str) -> Term:
        return side.model_copy(update={"arm": arm}) if side.arm == own.arm else side

    return [(put(term, arm), other and put(other, arm)) for arm in candidates(record, own, seeds)]


def candidates(record: Record, term: Term, seeds: set[int] | None = None) -> list[str]:
    """The arms that stand for Normal (long) in a term: one, or both where validation images do not decide.

    An arm with a single cosine counts only where that has ended. `seeds`: those that the other side has.
    """
    found = []
    for arm in NORMAL_LONG:
        runs = [record.run(arm, seed) for seed in record.seeds(arm)]
        restarts = all(run.summary["generations"]["schedule"] == "per_generation" for run in runs)
        if runs and (restarts or all(run.number(term.generation) == run.last for run in runs)):
            found.append(arm)
    if len(found) < 2:
        return found or [NORMAL_LONG[0]]
    common = set(record.seeds(found[0])) & set(record.seeds(found[1]))
    common = common & seeds if seeds is not None else common
    accuracy: dict[str, float] = {}
    for arm in found:
        try:
            outcomes = [record.run(arm, seed).outcome(term.generation) for seed in sorted(common)]
        except Absent:
            return found
        measured = [each["val_accuracy"] for each in outcomes if each.get("val_accuracy") is not None]
        if not measured or len(measured) < len(outcomes):
            return found
        accuracy[arm] = math.fsum(measured)
    best = max(accuracy.values())
    return [next(arm for arm in found if accuracy[arm] >= best - ROUNDING)]  # of equal ones the first
