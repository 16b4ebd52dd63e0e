"""The report's verdicts: each claim's, and what the paper's own numbers say against its text; all from claims.json."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

from eval.report.document import Section, Table
from seal.evaluations import EVALUATIONS

VERDICT_CLASSES = {
    "SUPPORTED": "supported", "REFUTED": "refuted", "WEAK": "weak", "INCONCLUSIVE": "inconclusive",
    "NOT-COMPARABLE": "none", "NOT-RUN": "none", "SKIPPED-DATA": "none",
}  # fmt: skip
DECIDED = ("SUPPORTED", "REFUTED")
LEVEL = 0.05  # of a claim that is not primary
UNTESTABLE = ("says", "place", "why")  # of a claim that cannot be tested
SEVERAL = 4  # names that are shown one by one

Claim = Mapping[str, Any]  # of claims.json


def verdicts(claims: Mapping[str, Any]) -> Section:
    """Each claim's verdict and its conditions; the paper against itself; what cannot be tested."""
    conditions = [[name, condition["says"]] for name, condition in claims["conditions"].items()]
    untestable = [*map(itemgetter(*UNTESTABLE), claims["untestable"])]
    parts = [
        measured_claims(claims["claims"]),
        Table("Conditions, without which a claim is not comparable", ["", "what has to hold"], conditions),
        contradictions(claims["claims"]),
        Table("Claims that cannot be tested", ["claim", "place", "why"], untestable),
    ]
    text = [counted(claims["claims"]), *restated(claims["claims"]), *decided(claims["claims"]), *failed(claims)]
    return Section("Verdicts", text=text, parts=parts)


def measured_claims(claims: Sequence[Claim]) -> Table:
    """Of the claims on which anything was measured: verdict and difference."""
    rows = []
    for claim in claims:
        difference = smallest_difference(claim)
        if difference:
            says = claim["says"] + cells(claim) + (" *" if claim["primary"] else "")
            rows.append([says, claim["verdict"], *difference, claim["place"]])

    columns = ["claim", "verdict", "difference", "seeds", "80%", "place"]  # a telephone shows the first two
    note = (
        "*: a primary outcome, fixed beforehand, judged at Holm's level. Differences are positive as claimed; of a "
        "chain or family the smallest is shown, with a 95% interval unless it says another. With one seed the interval "
        "is over test items and says only that these two checkpoints differ. 80%: the difference that so many seeds "
        "would tell in 80% of studies."
    )
    return Table("What the record says of each claim that it bears on", columns, rows, note, classes=VERDICT_CLASSES)


def counted(claims: Sequence[Claim]) -> str:
    """How many claims have which verdict."""
    counts = Counter(map(itemgetter("verdict"), claims))
    numbers = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICT_CLASSES if counts[verdict])
    return f"Of {len(claims)} claims: {numbers}."


def restated(claims: Sequence[Claim]) -> list[str]:
    """What the verdicts would be by the conditions before any was restated, where these runs do not go by those."""
    first = [claim["verdict_as_first_stated"] for claim in claims if "verdict_as_first_stated" in claim]
    if not first:
        return []

    changed = [claim for claim in claims if claim["verdict"] != claim["verdict_as_first_stated"]]
    numbers = ", ".join(f"{first.count(verdict)} {verdict}" for verdict in VERDICT_CLASSES if verdict in first)
    names = "; ".join(f"{claim['id']} {claim['verdict_as_first_stated']}" for claim in changed) or "none changes"
    return [f"By R2 as it was first stated: {numbers}. Of these other than above: {names}."]


def decided(claims: Sequence[Claim]) -> list[str]:
    """Which claims hold and which do not, a paragraph each."""
    paragraphs = []
    for verdict in DECIDED:
        sentences = [claim["says"] for claim in claims if claim["verdict"] == verdict]
        if sentences:
            paragraphs.append(f"{verdict}: {' '.join(sentences)}")
    return paragraphs


def failed(claims: Mapping[str, Any]) -> list[str]:
    """Why claims are NOT-COMPARABLE, a paragraph a reason; R4 first, which says what kind of scale this is."""
    reasons = Counter(claim["reason"] for claim in claims["claims"] if claim["verdict"] == "NOT-COMPARABLE")
    paragraphs = []
    for reason, count in sorted(reasons.items(), key=lambda item: (not item[0].startswith("R4: "), -item[1])):
        condition, _, failures = reason.partition(": ")
        if condition in claims["conditions"]:
            reason = f"{condition} fails, that {claims['conditions'][condition]['says']}: {failures}"
        scale = "This scale does not overfit with length as the paper's does. " if condition == "R4" else ""
        paragraphs.append(f"{scale}{count} NOT-COMPARABLE: {reason}.")
    return paragraphs


def cells(claim: Claim) -> str:
    """Over how many cells of which targets, or over which blocks, a family's mean was taken here."""
    if claim["test"] != "family":
        return ""

    texts = _measured(claim)[0]["cells"]
    names = list(dict.fromkeys(chain(*map(_names, texts))))
    shown = ", ".join(names) if len(names) <= SEVERAL else f"{names[0]} to {names[-1]}"

    paper = claim["where"]["paper_targets"]
    stand_ins = ", stand-ins" if paper and not {*paper} & {*names} else ""
    return f" ({len(texts)} cells: {shown}{stand_ins})"


def _names(cell: str) -> list[str]:
    """Of `fewshot eurosat 5-shot` the target; of a block's name itself."""
    return [word for word in cell.split() if word not in EVALUATIONS and not word.endswith("-shot")]


def smallest_difference(claim: Claim) -> tuple[str, str, str] | None:
    """Of a claim's comparisons the one that is least as claimed, with its interval; over how many seeds; and which
    difference these would have told with 80% power."""
    measured = _measured(claim)
    if not measured:
        return None

    worst = min(measured, key=lambda comparison: comparison["mean"])
    interval = worst["interval"] or worst["item_interval"]
    span = f" [{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""
    level = f" at {100 * (1 - worst['level']):.1f}%" if interval and worst["level"] != LEVEL else ""

    power = "" if worst["detectable"] is None else f"{worst['detectable']:.2f}"
    return f"{worst['mean']:+.2f}{span}{level} {claim['unit']}".strip(), str(len(worst["seeds"])), power


def _measured(claim: Claim) -> list[Mapping[str, Any]]:
    return [comparison for comparison in claim["comparisons"] if "mean" in comparison]


def contradictions(claims: Sequence[Claim]) -> Table:
    """The claims that the paper's own numbers speak against, cells of one claim together."""
    against = filter(itemgetter("contradiction"), claims)
    rows = []
    for (group, numbers), alike in groupby(against, key=lambda claim: (claim["group"], claim["contradiction"])):
        members = list(alike)
        says = members[0]["says"]
        if len(members) > 1:
            says = f"{group}, {len(members)} times: {', '.join(map(_name_in_group, members))}"
        rows.append([says, members[0]["place"], numbers])
    return Table("Where the paper's own numbers speak against its text", ["claim", "place", "its numbers"], rows)


def _name_in_group(claim: Claim) -> str:
    """Of `fewshot_cell.seal.eurosat` what parts it from the others of its group."""
    return " ".join(claim["id"].split(".")[1:])
