"""A primary claim once more, with each method at its own best numbers: equal tuning, by validation images.

What is best of a method is the arm `ARM_best` of params.yaml, chosen by as many trials as SEAL's S had
(expected/regime/PROTOCOL.md); a method that is best as it stands has no such arm. R2 is not asked for: which method is
better as tuned does not rest on how far an ascent goes.
"""

from eval.claims.claim import Claim
from seal.runs import Runs

BEST = "_best"


def at_own_best(runs: Runs, claim: Claim) -> Claim | None:
    """The claim of these arms; None where none of them has been run, or one not yet with all of the method's seeds."""
    terms = []
    for text, term in zip(claim.terms, claim.parsed(), strict=True):
        best = best_of(runs, term.arm)
        if not {*runs.seeds(term.arm)} <= {*runs.seeds(best)}:
            return None
        terms.append(best + text.removeprefix(term.arm))
    if terms == claim.terms:
        return None
    return claim.model_copy(update={"terms": terms, "conditions": [name for name in claim.conditions if name != "R2"]})


def best_of(runs: Runs, arm: str) -> str:
    best = f"{arm}{BEST}"
    return best if runs.of(best) else arm


def method_of(arm: str) -> str:
    """The arm of which this one is the best: conditions hold for both."""
    return arm.removesuffix(BEST)
