"""The tables of artifact.md that are made from the list of claims, and from the record and report of each study.

`make tables` writes them. Each stands between two comments that name it; a test says when one is stale.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

from eval.claims.claim import Claim
from eval.claims.claim_list import Claims, load_claims
from eval.report.accuracy import table_2
from eval.report.settings import recorded_study
from eval.report.writing import markdown
from seal.files import atomic, with_table
from seal.record import ROUNDING

ARTIFACT = Path("artifact.md")
STUDIES = (Path("expected/mini"), Path("expected/regime"))
TESTS = {
    "order": "first above second",
    "sign": "later above earlier",
    "margin": "above by more than",
    "chain": "each above next",
    "first": "first above all",
    "family": "first above all, mean over cells",
    "threshold": "above",
}


def main() -> None:
    text = filled(ARTIFACT.read_text(encoding="utf-8"), load_claims())
    with atomic(ARTIFACT) as path:
        path.write_text(text, encoding="utf-8", newline="")


def filled(text: str, claims: Claims) -> str:
    """The same text with every table made anew. Raises ValueError where a table has no place."""
    tables = {
        "claims": claims_table(claims),
        "tolerances": tolerances_table(claims),
        "conditions": conditions_table(claims),
        "untestable": untestable_table(claims),
    }
    for study in STUDIES:
        tables[f"{study.name} accuracy"] = accuracy_table(study)
        tables[f"{study.name} findings"] = (study / "report/findings.md").read_text(encoding="utf-8").rstrip()

    for name, table in tables.items():
        text = with_table(text, name, table)
    return text


def claims_table(claims: Claims) -> str:
    """A row for each group of claims, by areas, each of which is one experiment's."""
    by_area: dict[str, list[list[Claim]]] = {}
    for _, members in itertools.groupby(claims.claims, lambda claim: claim.group):
        group = list(members)
        by_area.setdefault(group[0].area, []).append(group)

    rows = []
    for name, title in claims.areas.items():
        experiment = name.replace("C", "E")
        rows.append([f"**{name}**", f"**{title}**", "", "", "", experiment])
        for position, group in enumerate(by_area.get(name, []), start=1):
            rows.append([f"{name}.{position}", *_claim_cells(claims, group), experiment])

    columns = ["", "claim in eval/claims/claims.yaml", "place", "the paper's numbers", "test; conditions", "by"]
    return markdown(columns, rows)


def _claim_cells(claims: Claims, group: Sequence[Claim]) -> list[str]:
    claim = group[0]
    count = f", {len(group)} times" if len(group) > 1 else ""
    primary = "*" if claim.primary else ""
    contradicted = "!" if any(map(attrgetter("contradiction"), group)) else ""
    name = f"`{claim.group}`{count} {primary}{contradicted}".strip()
    return [name, claim.place, numbers(claims, group), tested(claim)]


def numbers(claims: Claims, group: Sequence[Claim]) -> str:
    """What the paper gives: its terms' numbers of a single claim, how many cells agree of several."""
    claim = group[0]
    agreements = Counter(map(claims.paper_agrees, group))
    del agreements[None]  # the paper gives no number
    if not agreements:
        return "none"
    if claim.paper_difference is not None:
        return f"+{claims.paper_differences(claim)[0][0] + claim.tolerance:g}"
    if len(group) > 1:
        return f"as claimed in {agreements[True]} of {agreements.total()}"

    by_pair = claims.paper_differences(claim)
    if {*map(len, by_pair)} == {1}:
        return _numbers_of_terms(claims, claim)
    beyond = [*itertools.chain(*by_pair)]
    as_claimed = sum(difference + claim.tolerance > ROUNDING for difference in beyond)
    return f"as claimed in {as_claimed} of {len(beyond)} cells"


def _numbers_of_terms(claims: Claims, claim: Claim) -> str:
    (cell,) = claims.cells_in_paper(claim)
    texts = []
    for index, term in enumerate(claim.parsed()):
        number = claims.in_paper(claim, term, index, *cell)
        if number is not None:
            texts.append(f"{term} {number:g}")
    return ", ".join(texts)


def tested(claim: Claim) -> str:
    """How a claim is tested, and under which conditions."""
    words = TESTS[claim.test]
    if claim.side == "below":
        words = words.replace("above", "below")
    if claim.test == "threshold":
        words += f" {claim.bound:g}"
    if claim.tolerance:
        words += f" {claim.tolerance:g}" if claim.test == "margin" else f", tolerance {abs(claim.tolerance):g}"
    return words + (f"; {', '.join(claim.conditions)}" if claim.conditions else "")


def accuracy_table(folder: Path) -> str:
    """Test accuracy at the end of each generation, of the main arms of a study, a method a row."""
    study = recorded_study([folder])
    table = table_2(study.runs, study.main_arms, lambda arm, generation: None)
    return markdown(table.columns, table.rows)


def tolerances_table(claims: Claims) -> str:
    rows = {}
    for claim in claims.claims:
        if claim.tolerance:
            rows[claim.group] = [f"`{claim.group}`", f"{abs(claim.tolerance):g}", str(claim.why)]
    return markdown(["claim", "tolerance", "why"], list(rows.values()))


def conditions_table(claims: Claims) -> str:
    rows = []
    for name, condition in claims.conditions.items():
        rows.append([name, condition.words()])
        if first := condition.first_stated:
            rows.append([f"{name} at {' and '.join(first.tiers)}", first.words()])
    return markdown(["", "what has to hold in a claim's own runs"], rows)


def untestable_table(claims: Claims) -> str:
    rows = [*map(attrgetter("says", "place", "why"), claims.untestable)]
    return markdown(["claim", "place", "why it cannot be tested"], rows)


if __name__ == "__main__":
    main()
