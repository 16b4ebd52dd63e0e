"""A primary claim once more, with each method at its own best numbers: equal tuning, by validation images.

What is best of a method is the arm `ARM_best` of params.yaml, chosen by as many trials as SEAL's S had
(expected/regime/PROTOCOL.md); a method that is best as it stands has no such arm. R2 is not asked for: which method is
better as tuned does not rest on how far an ascent goes.
"""

from functools import cache
from pathlib import Path

from eval.claims.claim import Claim
from seal.config import Params
from seal.runs import Runs
from seal.tiers import tier_params

BEST = "_best"
PARAMS = Path(__file__).parents[2] / "params"


def at_own_best(runs: Runs, claim: Claim) -> Claim | None:
    """The claim of these arms. None where their tier has none, or one has not yet been run by all seeds that the tier
    asks for of it."""
    params = _tier(str(runs.the_same("tier")))
    terms = []
    for text, term in zip(claim.terms, claim.parsed(), strict=True):
        best = f"{term.arm}{BEST}"
        if best not in params.arms:
            terms.append(text)
        elif {*params.sensitivity_seeds} <= {*runs.seeds(best)}:
            terms.append(best + text.removeprefix(term.arm))
        else:
            return None

    if terms == claim.terms:
        return None
    return claim.model_copy(update={"terms": terms, "conditions": [name for name in claim.conditions if name != "R2"]})


@cache
def _tier(name: str) -> Params:
    return tier_params(name, folder=PARAMS)


def method_of(arm: str) -> str:
    """The arm of which this one is the best: conditions hold for both."""
    return arm.removesuffix(BEST)
