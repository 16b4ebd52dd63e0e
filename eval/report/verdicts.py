"""Rows of verdicts: each claim's, with its difference and what it rests on; all from claims.json."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any

from eval.claims.rule import by_weight
from eval.claims.show import BESIDE, words_as_first_stated
from eval.report.document import VerdictRow, Verdicts
from eval.report.drawing import label
from eval.report.judged import Claim, Judged
from seal.evaluations import EVALUATIONS

LEVEL = 0.05  # of a claim that is not primary
SEVERAL = 4  # names that are shown one by one
NOTE = (
    "*: a primary outcome, fixed beforehand, judged at Holm's level, and so where its difference stands in another "
    "claim; all others are at 5% each, not adjusted for being many. Differences are positive as claimed; of a chain or "
    "family the one with the worst verdict is shown, of several such the smallest, with a 95% interval unless it says "
    "another. With one seed the interval is over test items and says only that these two checkpoints differ. 80%: the "
    "difference that so many seeds would tell in 80% of studies. Where it is asked whether runs diverge, one that does "
    "counts 1, another 0."
)


def verdicts(judged: Judged, area: str) -> Verdicts:
    """Each claim of an area exactly once: those that the record bears on, then the others."""
    known: list[VerdictRow] = []
    others: list[VerdictRow] = []
    for claim in judged.claims_of(area):
        place = known if measured(claim) else others
        place.append(row(judged, claim))
    return Verdicts(known, others)


def row(judged: Judged, claim: Claim) -> VerdictRow:
    numbers = deciding_difference(claim)

    says = claim["says"] + cells(claim) + (" *" if claim["primary"] else "")
    notes = dict.fromkeys(chain.from_iterable(comparison["notes"] for comparison in measured(claim)))
    papers = in_paper(claim, signed)
    if claim["contradiction"]:
        papers = f"{papers or 'in the paper'}: {claim['contradiction'].removesuffix('.')}"
    qualified = (claim["reason"], words_as_first_stated(claim), _by_the_other(claim))
    small = "; ".join(filter(None, (claim["place"], papers, *qualified, *notes)))
    difference, seeds, detectable = numbers or ("", "", "")
    return VerdictRow(
        judged.anchor(claim["id"]), claim["id"], says, claim["verdict"], difference, seeds, detectable, small
    )


def _by_the_other(claim: Claim) -> str:
    """With the other Normal (long): of the differences that it is in the one that decides, and the verdict."""
    if "other_normal_long" not in claim:
        return ""

    again, own = claim["other_normal_long"], [_terms(compared) for compared in claim["comparisons"]]
    its = [compared for compared in again["comparisons"] if _terms(compared) not in own]
    words, worst = [BESIDE["other_normal_long"]], deciding({"comparisons": its})
    if worst is not None:
        difference, *_ = _difference(worst, claim["unit"])
        words += [sides(worst), difference, seeds_words(worst)]

    reason = again["reason"] if again["reason"] != claim["reason"] else ""
    return ", ".join(filter(None, (*words, again["verdict"], reason)))


def _terms(compared: Mapping[str, Any]) -> tuple[str, str | None]:
    return compared["term"], compared["other"]


def sides(compared: Mapping[str, Any]) -> str:
    """What is compared with what; with a bound the first alone."""
    return " against ".join(map(side, filter(None, _terms(compared))))


def seeds_words(compared: Mapping[str, Any]) -> str:
    count = len(compared["seeds"])
    return f"{count} seed{'s' if count > 1 else ''}"


def side(term: str) -> str:
    """Of `seal`, `seal@3` or `seal:fewshot` the words for it."""
    text, _, measure = term.partition(":")
    arm, _, generation = text.partition("@")
    after = f" after generation {generation}" if generation else ""
    return label(arm) + after + (f" by {measure}" if measure else "")


def cells(claim: Claim) -> str:
    """Over how many cells of which targets, or over which blocks, a family's mean was taken here."""
    if claim["test"] != "family" or not measured(claim):
        return ""

    texts = measured(claim)[0]["cells"]
    names = list(dict.fromkeys(chain(*map(_names, texts))))
    shown = ", ".join(names) if len(names) <= SEVERAL else f"{names[0]} to {names[-1]}"

    paper = claim["where"]["paper_targets"]
    stand_ins = ", stand-ins" if paper and not {*paper} & {*names} else ""
    return f" ({len(texts)} cell{'s' if len(texts) > 1 else ''}: {shown}{stand_ins})"


def _names(cell: str) -> list[str]:
    """Of `fewshot eurosat 5-shot` the target; of a block's name itself."""
    return [word for word in cell.split() if word not in EVALUATIONS and not word.endswith("-shot")]


def measured(claim: Claim) -> list[Mapping[str, Any]]:
    """Its comparisons that have evidence."""
    return [comparison for comparison in claim["comparisons"] if "mean" in comparison]


def deciding(claim: Claim) -> Mapping[str, Any] | None:
    """Of a claim's comparisons the one that decides."""
    return min(measured(claim), key=lambda seen: by_weight(seen["verdict"], seen["mean"]), default=None)


def in_paper(claim: Claim, words: Callable[[float], str]) -> str:
    """The paper's difference in the comparison that decides, in these words, or both where it trained on; "" where it
    has none, and of a family, which has one a cell."""
    worst, paper = deciding(claim), claim["paper"]
    if worst is None or len(paper["differences"]) != len(claim["comparisons"]):
        return ""

    place = claim["comparisons"].index(worst)
    at_its_end = paper["differences"][place]
    if len(at_its_end) != 1:
        return ""
    if "after_as_many" not in paper:
        return f"in the paper {words(*at_its_end)}"
    as_many = words(*paper["after_as_many"][place])
    return f"in the paper {as_many} after as many generations, {words(*at_its_end)} at its end"


def refuted_in_paper_too(claims: Iterable[Claim]) -> list[str]:
    """A sentence where the paper's text is refuted and its own tables agree with us; none where there is none such."""
    refuted = [claim for claim in claims if claim["verdict"] == "REFUTED"]
    by_paper = [claim for claim in refuted if claim["contradiction"]]
    return [f"{len(by_paper)} of the {len(refuted)} REFUTED the paper's own tables refute too."] if by_paper else []


def signed(paper_difference: float) -> str:
    return f"{paper_difference:+.2f}"


def interval_of(comparison: Mapping[str, Any]) -> tuple[float, float] | None:
    """Over seeds; of one seed, over test items."""
    interval = comparison["interval"] or comparison["item_interval"]
    return tuple(interval) if interval else None


def interval_words(comparison: Mapping[str, Any]) -> str:
    interval = interval_of(comparison)
    if interval is None:
        return ""
    over = "" if comparison["interval"] else " over test images alone"
    return f"{100 * (1 - comparison['level']):.3g}% interval {interval[0]:+.2f} to {interval[1]:+.2f}{over}"


def deciding_difference(claim: Claim) -> tuple[str, str, str] | None:
    """The difference that decides, with its interval; over how many seeds; and which difference these would have told
    with 80% power."""
    worst = deciding(claim)
    return None if worst is None else _difference(worst, claim["unit"])


def _difference(worst: Mapping[str, Any], unit: str) -> tuple[str, str, str]:
    interval = interval_of(worst)
    span = f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""
    level = f" at {100 * (1 - worst['level']):.1f}%" if interval and worst["level"] != LEVEL else ""
    bound = "" if worst["other"] else f" ({worst['means'][0]:.3g} against a bound of {worst['means'][1]:.3g})"
    power = "" if worst["detectable"] is None else f"{worst['detectable']:.2f}"
    difference = " ".join(filter(None, (f"{worst['mean']:+.2f}{span}{level}", unit)))
    return f"{difference}{bound}", str(len(worst["seeds"])), power
