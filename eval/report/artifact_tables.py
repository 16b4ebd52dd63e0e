"""The tables of artifact.md that are made from the list of claims and from the mini study's record.

`python -m eval.report.artifact_tables` writes them. Each stands between two comments that name it; a test says when one
is stale.
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from eval.claims.claim import Claim
from eval.claims.claim_list import Claims, load_claims
from eval.report.study_tables import study_tables
from seal.record import ROUNDING, atomic

ARTIFACT = Path("artifact.md")
STUDY = Path("expected/mini")
AREAS = {
    "C1": "The method, section 3",
    "C2": "Accuracy in distribution, Table 2",
    "C3": "Transfer, Table 1",
    "C4": "Few-shot, Tables 4 and 5",
    "C5": "Prediction depth, Figures 2 and 3",
    "C6": "The Hessian, Table 6",
    "C7": "What late layers do meanwhile, Table 7",
}
BY_EVALUATION = {"transfer": "C3", "fewshot": "C4", "fewshot_affines": "C4", "prediction_depth": "C5", "hessian": "C6"}
TESTS = {
    "order": "first above second",
    "sign": "later above earlier",
    "margin": "above by more than",
    "chain": "each above next",
    "first": "first above all",
    "family": "first above all, mean over cells",
    "threshold": "above",
}


def area(claim: Claim) -> str:
    """By what is measured; of trainings by which arms are compared."""
    needed = [BY_EVALUATION[name] for name in claim.needs() if name in BY_EVALUATION]
    if needed:
        return needed[0]
    arms = {term.arm for term in claim.parsed()}
    if any(arm.startswith(("seal_freeze", "seal_reinit", "seal_reverse")) for arm in arms):
        return "C7"
    return "C2" if claim.measure in ("test_accuracy", "clean_accuracy") and "seal_s0" not in arms else "C1"


def numbers(claims: Claims, members: Sequence[Claim]) -> str:
    """What the paper gives: its terms' numbers of a single claim, how many cells agree of several."""
    claim = members[0]
    agree = [claims.paper_agrees(each) for each in members]
    known = [each for each in agree if each is not None]
    if not known:
        return "none"
    if claim.paper_difference is not None:
        return f"+{claims.paper_differences(claim)[0][0] + claim.tolerance:g}"
    cells = [len(pair) for pair in claims.paper_differences(claim)]
    if len(members) == 1 and cells == [1] * len(cells):
        (cell,) = claims.cells_in_paper(claim)
        terms = enumerate(claim.parsed())
        found = [(term, claims.in_paper(claim, term, index, *cell)) for index, term in terms]
        return ", ".join(f"{term} {value:g}" for term, value in found if value is not None)
    if len(members) > 1:
        return f"as claimed in {sum(known)} of {len(known)}"
    differences = [each + claim.tolerance for pair in claims.paper_differences(claim) for each in pair]
    return f"as claimed in {sum(each > ROUNDING for each in differences)} of {len(differences)} cells"


def tested(claim: Claim) -> str:
    words = TESTS[claim.test]
    if claim.side == "below":
        words = words.replace("above", "below")
    if claim.test == "threshold":
        words += f" {claim.bound:g}"
    if claim.tolerance:
        words += f" {claim.tolerance:g}" if claim.test == "margin" else f", tolerance {abs(claim.tolerance):g}"
    return words + (f"; {', '.join(claim.conditions)}" if claim.conditions else "")


def claims_table(claims: Claims) -> str:
    groups: dict[str, list[tuple[str, list[Claim]]]] = {name: [] for name in AREAS}
    for group, members in itertools.groupby(claims.claims, lambda claim: claim.group):
        same = list(members)
        groups[area(same[0])].append((group, same))
    lines = [
        "| | claim in eval/claims/claims.yaml | place | the paper's numbers | test; conditions | by |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in AREAS.items():
        lines.append(f"| **{name}** | **{title}** | | | | {name.replace('C', 'E')} |")
        for position, (group, same) in enumerate(groups[name], start=1):
            claim = same[0]
            count = f", {len(same)} times" if len(same) > 1 else ""
            marks = ("*" if claim.primary else "") + ("!" if any(each.contradiction for each in same) else "")
            cells = (f"`{group}`{count} {marks}".strip(), claim.place, numbers(claims, same), tested(claim))
            lines.append(f"| {name}.{position} | {' | '.join(cells)} | {name.replace('C', 'E')} |")
    return "\n".join(lines)


def tolerances_table(claims: Claims) -> str:
    whys = {claim.group: claim for claim in claims.claims if claim.tolerance}
    lines = ["| claim | tolerance | why |", "|---|---|---|"]
    return "\n".join(lines + [f"| `{name}` | {claim.tolerance:g} | {claim.why} |" for name, claim in whys.items()])


def conditions_table(claims: Claims) -> str:
    lines = ["| | what has to hold in a claim's own runs |", "|---|---|"]
    for name, condition in claims.conditions.items():
        lines.append(f"| {name} | {condition.words()} |")
    return "\n".join(lines)


def untestable_table(claims: Claims) -> str:
    lines = ["| claim | place | why it cannot be tested |", "|---|---|---|"]
    return "\n".join(lines + [f"| {each.says} | {each.place} | {each.why} |" for each in claims.untestable])


def filled(text: str, claims: Claims) -> str:
    """The same text with every table made anew. Raises ValueError where a table has no place."""
    tables = {
        "claims": claims_table(claims), "tolerances": tolerances_table(claims),
        "conditions": conditions_table(claims), "untestable": untestable_table(claims),
        **{f"mini {name}": table for name, table in study_tables(STUDY).items()},
    }  # fmt: skip
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->\n", "\n<!-- end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"{ARTIFACT}: expected one {begin.strip()} with an end")
        text = pattern.sub(lambda found, whole=f"{begin}{table}{end}": whole, text)  # type: ignore[misc]
    return text


def main() -> None:
    text = filled(ARTIFACT.read_text(encoding="utf-8"), load_claims())
    with atomic(ARTIFACT) as path:
        path.write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
