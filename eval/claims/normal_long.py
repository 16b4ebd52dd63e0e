"""Which arm stands for the paper's Normal (long): it does not say whether the cosine restarts, so both are run.

Comparisons and the condition R4 ask for it.
"""

import math
from collections.abc import Collection, Sequence

from eval.claims.claim import Term
from seal.readings import Missing
from seal.record import ROUNDING
from seal.runs import Generation, RunFolder, Runs

NORMAL_LONG = ("normal_long", "normal_long_cosine")
Pair = tuple[Term, Term | None]


def resolved(runs: Runs, term: Term, other: Term | None) -> list[Pair]:
    """The comparison with the better arm by validation images; with both where there are none."""
    if NORMAL_LONG[0] not in (term.arm, other and other.arm):
        return [(term, other)]

    own, partner = (term, other) if term.arm == NORMAL_LONG[0] else (other or term, term)
    seeds = set(runs.seeds(partner.arm)) if partner and partner.arm != own.arm else None

    def put(side: Term, arm: str) -> Term:
        return side.model_copy(update={"arm": arm}) if side.arm == own.arm else side

    return [(put(term, arm), other and put(other, arm)) for arm in candidates(runs, own.generation, seeds)]


def candidates(runs: Runs, generation: Generation, seeds: Collection[int] | None = None) -> list[str]:
    """The arms that stand for Normal (long) after a generation: one, or both where validation images do not decide.

    An arm with a single cosine counts only where that has ended. `seeds`: those that the other side has.
    """
    arms = [arm for arm in NORMAL_LONG if _stands_for_it(runs.of(arm), generation)]
    if len(arms) < 2:
        return arms or [NORMAL_LONG[0]]

    common = set(runs.seeds(arms[0])) & set(runs.seeds(arms[1]))
    if seeds is not None:
        common &= set(seeds)

    accuracies = {}
    for arm in arms:
        accuracy = _validation_accuracy([run for run in runs.of(arm) if run.seed in common], generation)
        if accuracy is None:
            return arms
        accuracies[arm] = accuracy

    best = max(accuracies.values())
    return [next(arm for arm in arms if accuracies[arm] >= best - ROUNDING)]  # of equal ones the first


def _stands_for_it(runs: Sequence[RunFolder], generation: Generation) -> bool:
    restarts = all(run.settings["schedule"] == "per_generation" for run in runs)
    at_their_end = all(run.number(generation) == run.last for run in runs)
    return bool(runs) and (restarts or at_their_end)


def _validation_accuracy(runs: Sequence[RunFolder], generation: Generation) -> float | None:
    """Summed over runs; None where one has none."""
    accuracies = []
    for run in runs:
        outcome = run.outcome(generation)
        if isinstance(outcome, Missing) or outcome.get("val_accuracy") is None:
            return None
        accuracies.append(outcome["val_accuracy"])
    return math.fsum(accuracies) if accuracies else None
