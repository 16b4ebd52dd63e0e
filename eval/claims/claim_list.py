"""The list of claims, eval/claims/claims.yaml, checked strictly; and what the paper's own numbers say of each."""

import itertools
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from eval.claims.claim import Claim, Condition, ConditionName, Strict, Term, Untestable, Where
from eval.claims.evidence import Cell
from eval.claims.paper import paper_number
from seal.record import ROUNDING

CLAIMS = Path(__file__).with_name("claims.yaml")
LAST_IN_PAPER = 10  # G, section 4.1


class Claims(Strict):
    conditions: dict[ConditionName, Condition]
    paper_cells: dict[str, Where]  # what `all` was in the paper, by measure
    claims: list[Claim]
    untestable: list[Untestable]

    def paper_differences(self, claim: Claim) -> list[list[float]]:
        """For each pair, its cells' differences beyond the boundary in the paper's own numbers; empty: not given."""
        if claim.paper_difference is not None:
            return [[float(_reference(claim.paper_difference) or 0) - claim.tolerance]]
        if claim.paper is None:
            return []
        terms, cells = claim.parsed(), self.cells_in_paper(claim)
        found = []
        for pair in claim.pairs():
            differences = []
            for cell, measure in cells:
                numbers = [self.in_paper(claim, term, terms.index(term), cell, measure) for term in pair if term]
                other = numbers[1] if len(numbers) == 2 else claim.bound
                if numbers[0] is not None and other is not None:
                    differences.append(claim.sign * (numbers[0] - other) - claim.tolerance)
            found.append(differences)
        return found

    def in_paper(self, claim: Claim, term: Term, index: int, cell: Cell, measure: str | None = None) -> float | None:
        """The paper's number for a term at a cell; None where it gives none."""
        if claim.paper is None:
            return None
        text = claim.paper if isinstance(claim.paper, str) else claim.paper[index]
        generation = LAST_IN_PAPER if term.generation == "last" else term.generation
        names = {"arm": term.arm, "generation": generation, "measure": measure or term.measure}
        return _reference(text.format(**names, target=cell.target, shot=cell.shot))

    def cells_in_paper(self, claim: Claim) -> list[tuple[Cell, str | None]]:
        where = claim.where
        known = self.paper_cells.get(claim.measure, Where())
        targets = known.target if where.target == "all" else where.target
        shots = known.shot if where.shot == "all" else where.shot
        none: list[None] = [None]
        return [
            (Cell(target if isinstance(target, str) else None, shot if isinstance(shot, int) else None), measure)
            for target in targets or none
            for shot in shots or none
            for measure in where.measure or none
        ]

    def paper_agrees(self, claim: Claim) -> bool | None:
        """Whether the paper's own numbers have every difference on the claimed side; None where it gives none."""
        pairs = self.paper_differences(claim)
        return all(difference > ROUNDING for pair in pairs for difference in pair) if any(pairs) else None


def _reference(text: str) -> float | None:
    table, *keys = text.split(".")
    return paper_number(table, *(int(key) if key.isdigit() else key for key in keys))


def load_claims(path: Path = CLAIMS) -> Claims:
    """Read and expand the list. Raises ValueError with one line for what it cannot use.

    An entry with `each` stands for one claim for every combination of its values, put in for {name} wherever it
    stands; `contradiction` stays with those of which it is true.
    """
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw.pop("names", None)  # anchors
    raw["claims"] = [each for entry in raw["claims"] for each in _expanded(entry)]
    try:
        claims = Claims.model_validate(raw)
        cells = {name: {"paper_targets": where.target} for name, where in claims.paper_cells.items()}
        claims = claims.model_copy(update={"claims": [
            claim.model_copy(update={"where": claim.where.model_copy(update=cells.get(claim.measure, {}))})
            for claim in claims.claims
        ]})  # fmt: skip
    except ValidationError as error:
        problem = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    ids = [claim.id for claim in claims.claims]
    if repeated := {name for name in ids if ids.count(name) > 1}:
        raise ValueError(f"{path}: {sorted(repeated)[0]} stands there twice")
    kept = [
        claim.model_copy(update={"contradiction": None})
        if claim.id != claim.group and claims.paper_agrees(claim)
        else claim
        for claim in claims.claims
    ]
    return claims.model_copy(update={"claims": kept})


def _expanded(entry: dict[str, Any]) -> list[dict[str, Any]]:
    each = entry.pop("each", {})
    if not each:
        return [entry | {"group": entry["id"]}]
    found = []
    for values in itertools.product(*each.values()):
        names = dict(zip(each, values, strict=True))
        name = ".".join([entry["id"], *map(str, values)])
        found.append(_filled(entry, names) | {"id": name, "group": entry["id"]})
    return found


def _filled(value: Any, names: dict[str, Any]) -> Any:
    """The same with names' values for {name}; other braces stay."""
    if isinstance(value, dict):
        return {key: _filled(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, names) for part in value]
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: str(names.get(found[1], found[0])), value)
    return value
