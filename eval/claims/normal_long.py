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

    return [_with_arm((term, other), arm) for arm in candidates(runs, own.generation, seeds)]


def by_the_other(runs: Runs, term: Term, other: Term | None) -> Pair | None:
    """A comparison by the other of the two arms, or as it is where it uses neither; None where the other could not
    stand for Normal (long)."""
    sides = [side for side in (term, other) if side and side.arm in NORMAL_LONG]
    if not sides:
        return term, other

    (arm,) = {*NORMAL_LONG} - {side.arm for side in sides}
    possible = all(_stands_for_it(runs.of(arm), side.generation) for side in sides)
    return _with_arm((term, other), arm) if possible else None


def _with_arm(pair: Pair, arm: str) -> Pair:
    """The pair with this arm for Normal (long)."""

    def put(side: Term) -> Term:
        return side.model_copy(update={"arm": arm}) if side.arm in NORMAL_LONG else side

    term, other = pair
    return put(term), other and put(other)


def candidates(runs: Runs, generation: Generation, seeds: Collection[int] | None = None) -> list[str]:
    """The arms that stand for Normal (long) after a generation: one, or both where validation images do not decide.

    An arm with a single cosine counts only where that has ended; and one whose seeds are fewer, all of them the other's
    too, not at all: it would take seeds from the comparison. `seeds`: those that the other side has.
    """
    arms = [arm for arm in NORMAL_LONG if _stands_for_it(runs.of(arm), generation)]
    if len(arms) < 2:
        return arms or [NORMAL_LONG[0]]

    of_first, of_second = ({*runs.seeds(arm)} for arm in arms)
    if seeds is not None:
        of_first, of_second = of_first.intersection(seeds), of_second.intersection(seeds)
    if of_first > of_second:
        return arms[:1]
    if of_second > of_first:
        return arms[1:]

    common = of_first & of_second
    first = _validation_accuracy(runs.of(arms[0]), common, generation)
    second = _validation_accuracy(runs.of(arms[1]), common, generation)
    if first is None or second is None:
        return arms
    return arms[:1] if first >= second - ROUNDING else arms[1:]  # of equal ones the first


def _stands_for_it(runs: Sequence[RunFolder], generation: Generation) -> bool:
    schedules = {run.settings["schedule"] for run in runs}
    if schedules == {"per_generation"}:
        return True
    return bool(runs) and all(run.number(generation) == run.last for run in runs)


def _validation_accuracy(runs: Sequence[RunFolder], seeds: Collection[int], generation: Generation) -> float | None:
    """Summed over the seeds' runs; None where one has none."""
    accuracies = []
    for run in runs:
        if run.seed not in seeds:
            continue
        outcome = run.outcome(generation)
        if isinstance(outcome, Missing) or outcome.get("val_accuracy") is None:
            return None
        accuracies.append(outcome["val_accuracy"])
    return math.fsum(accuracies) if accuracies else None
