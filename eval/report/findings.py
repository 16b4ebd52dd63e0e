"""The primary claims told in words: what was measured, on how many seeds, and what the verdict means; all from
claims.json."""

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from eval.claims.conditions import NOT_CHECKED
from eval.claims.show import BESIDE, failing_seeds, words_as_first_stated
from eval.report.document import Told
from eval.report.judged import Claim, Judged
from eval.report.verdicts import deciding, in_paper, interval_words, measured, seeds_words, side, sides

# What it says of a claim that one of its conditions fails.
FAILING_MEANS = {
    "R1": "networks that have not learnt their training images whole are not what the paper compares",
    "R2": "this ascent forgot less than is asked for, so the difference need not be that of the paper's SEAL",
    "R3": "a later generation did not relearn what the first one knew, so it is not the paper's training",
    "R4": "at this scale longer training does not overfit, which the paper's claim starts from",
}
SIDES = {True: "above", False: "below"}


def told(judged: Judged) -> list[Told]:
    """A sentence or two for each primary claim, in their own order."""
    primary = filter(itemgetter("primary"), judged.claims)
    return [tell(judged, claim) for claim in primary]


def tell(judged: Judged, claim: Claim) -> Told:
    worst = deciding(claim)
    sentences = [difference(claim["unit"], worst, in_paper(claim, _beside))] if worst else []
    sentences += meaning(claim, worst)
    if first := words_as_first_stated(claim):
        sentences.append(f"{_capital(first)}.")
    sentences += [beside(claim, key) for key in BESIDE if key in claim]
    return Told(claim["verdict"], judged.anchor(claim["id"]), _sides(claim), " ".join(sentences))


def _sides(judged: Mapping[str, Any]) -> str:
    """Of the comparison that decides."""
    return sides(deciding(judged) or judged["comparisons"][0])


def beside(claim: Claim, key: str) -> str:
    """Difference and verdict of a claim that was judged once more, in one of the ways of BESIDE.

    Sides and a reason that are the claim's own are not told again.
    """
    again = claim[key]
    compared, worst = _sides(again), deciding(again)
    how = _capital(BESIDE[key]) + ("" if compared == _sides(claim) else f", {compared}")
    verdict = again["verdict"] + (f", {again['reason']}" if again["reason"] not in ("", claim["reason"]) else "")
    if first := words_as_first_stated(again):
        verdict += f" ({first})"

    measured = f"{difference(claim['unit'], worst).removesuffix('.')}: " if worst else ""
    return f"{how}: {measured}{verdict}."


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def no_overfitting(judged: Judged) -> list[str]:
    """A sentence where R4 fails: what the paper asks begins with training that overfits as it goes on."""
    better: dict[str, None] = {}
    looked_at: set[int] = set()
    for claim in judged.claims:
        for check in claim["conditions"]:
            if check["name"] == "R4":
                better |= dict.fromkeys(words for words in check["failures"] if NOT_CHECKED not in words)
                for comparison in measured(claim):
                    looked_at.update(comparison["seeds"])
    if not better:
        return []

    seeds = failing_seeds([{"failures": better}])
    of_all = f"{len(seeds)} of {len(looked_at)} seeds"
    return [f"Unlike in the paper, Normal (long) is better than Normal in {of_all}: {_failures([*better])}."]


def difference(unit: str, worst: Mapping[str, Any], paper: str = "") -> str:
    """What was measured on the comparison that is least as claimed, and what the paper has there."""
    first, second = worst["means"]
    percent = "%" if unit == "points" else ""
    lies = f"{side(worst['term'])} ends {abs(first - second):.2f} {unit} {SIDES[first > second]}"
    numbers = f"{first:.2f}{percent} against {second:.2f}{percent}"
    evidence = "; ".join(filter(None, (interval_words(worst), seeds_words(worst), paper)))
    return f"{lies}, {numbers} ({evidence})."


def _beside(paper_difference: float) -> str:
    return f"{abs(paper_difference):.2f} {SIDES[paper_difference > 0]}"


def meaning(claim: Claim, worst: Mapping[str, Any] | None) -> Iterator[str]:
    """What the verdict says of the claim."""
    would_tell = ""
    if worst and worst["detectable"]:
        would_tell = f"; so many seeds would tell {worst['detectable']:.1f} {claim['unit']} in 80% of studies"

    match claim["verdict"]:
        case "SUPPORTED":
            yield "The whole interval is on the claimed side: it holds here."
        case "REFUTED":
            yield "The whole interval is on the other side: it does not hold here."
        case "WEAK":
            yield f"The sign is as claimed, but this may be noise{would_tell}."
        case "INCONCLUSIVE":
            yield f"This is neither for the claim nor firmly against it{would_tell}."
        case "NOT-COMPARABLE":
            yield from why_not_comparable(claim)
        case _:
            yield f"Nothing is known: {claim['reason']}."


def why_not_comparable(claim: Claim) -> Iterator[str]:
    """Which conditions fail, and what that means; or what else stands in the way."""
    condition = claim["reason"].partition(": ")[0]
    if condition not in FAILING_MEANS:
        yield f"No verdict on the paper: {claim['reason']}."
        return

    for check in claim["conditions"]:
        failing = [words for words in check["failures"] if NOT_CHECKED not in words]
        if failing:
            yield f"{check['name']} fails ({_failures(failing)}): {FAILING_MEANS[check['name']]}."
        elif not check["passed"]:
            yield f"{check['name']} could not be checked ({_failures(check['failures'])})."


def _failures(failures: Sequence[str]) -> str:
    more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
    return failures[0] + more
