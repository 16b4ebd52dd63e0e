"""A primary claim once more, with each method at its own best numbers: equal tuning, by validation images.

What is best of a method is the arm `ARM_best` of params.yaml, chosen by as many trials as SEAL's S had
(expected/regime/PROTOCOL.md); a method that is best as it stands has no such arm. R2 is not asked for: which method is
better as tuned does not rest on how far an ascent goes.
"""

from eval.claims.claim import Claim, OwnBest
from seal.runs import Runs

BEST = "_best"


def at_own_best(runs: Runs, claim: Claim, own: OwnBest) -> Claim | None:
    """The claim of these arms. None where it uses none of them; and until they and the claim's other arms have all of
    own best's seeds."""
    terms = []
    for text, term in zip(claim.terms, claim.parsed(), strict=True):
        best = own.arms.get(term.arm, term.arm)
        terms.append(best + text.removeprefix(term.arm))
    if terms == claim.terms:
        return None

    best_claim = claim.model_copy(
        update={"terms": terms, "conditions": [name for name in claim.conditions if name != "R2"]}
    )
    arms = {*own.arms.values(), *(term.arm for term in best_claim.parsed())}
    complete = all({*own.seeds} <= {*runs.seeds(arm)} for arm in arms)
    return best_claim if complete else None


def arm_of_best(arm: str) -> str:
    """The arm of which this one is the best: conditions hold for both."""
    return arm.removesuffix(BEST)
