"""The list of claims, eval/claims/claims.yaml, checked strictly; and what the paper's own numbers say of each.

The stage reads it, and eval/report/artifact_tables.py for the tables of artifact.md.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from eval.claims.claim import Bound, Claim, Condition, ConditionName, OwnBest, Strict, Term, Untestable, Where
from eval.claims.paper import paper_number
from seal.config import load_params
from seal.errors import first_problem
from seal.measure import Cell
from seal.record import ROUNDING
from seal.sections import BASE_ARM
from seal.yaml_files import read_yaml

CLAIMS = Path(__file__).with_name("claims.yaml")
KNOWS_THE_ARMS = "params/paper.yaml"
ROOT = Path(__file__).parents[2]
LAST_IN_PAPER = 10  # G, section 4.1
OF_A_CONDITION = {"measure": "R2", "loss": "R3"}


class Claims(Strict):
    conditions: dict[ConditionName, Condition]
    own_best: dict[str, OwnBest]  # by tier
    paper_cells: dict[str, Where]  # what `all` was in the paper, by measure
    areas: dict[str, str]  # title by name, in the order of tables
    claims: list[Claim]
    untestable: list[Untestable]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, condition in self.conditions.items():
            for bound in filter(None, (condition, condition.first_stated)):
                for key, owner in OF_A_CONDITION.items():
                    if (getattr(bound, key) is None) == (name == owner):
                        raise ValueError(f"{name}: `{key}` belongs to {owner}, and only to it")
        return self

    def conditions_of(self, tier: str) -> dict[ConditionName, Bound]:
        """As a tier's runs are held to them: a restated one as its protocol has it."""
        bounds: dict[ConditionName, Bound] = {}
        for name, condition in self.conditions.items():
            first = condition.first_stated
            bounds[name] = first if first and tier in first.tiers else condition
        return bounds

    def first_conditions(self) -> dict[ConditionName, Bound]:
        """As they were first stated, for every tier."""
        return {name: condition.first_stated or condition for name, condition in self.conditions.items()}

    def paper_differences(self, claim: Claim, last: int = LAST_IN_PAPER) -> list[list[float]]:
        """For each pair, its cells' differences beyond the boundary in the paper's own numbers; empty: not given.
        `last`: the generation that is meant where the claim means the last."""
        if claim.paper_difference is not None:
            return [[float(_reference(claim.paper_difference) or 0) - claim.tolerance] for _ in claim.pairs()]
        if claim.paper is None:
            return []

        differences = []
        for pair in claim.pairs():
            known = []
            for cell in self.cells_in_paper(claim):
                difference = self._difference(claim, *pair, *cell, last)
                if difference is not None:
                    known.append(difference)
            differences.append(known)
        return differences

    def paper_agrees(self, claim: Claim) -> bool | None:
        """Whether the paper's own numbers have every difference on the claimed side; None where it gives none."""
        differences = list(itertools.chain.from_iterable(self.paper_differences(claim)))
        return min(differences) > ROUNDING if differences else None

    def cells_in_paper(self, claim: Claim) -> list[tuple[Cell, str | None]]:
        """The cells, and the measure where the claim names several."""
        in_paper = self.paper_cells.get(claim.measure, Where())
        targets = in_paper.target if claim.where.target == "all" else claim.where.target
        shots = in_paper.shot if claim.where.shot == "all" else claim.where.shot
        assert targets != "all"
        assert shots != "all"

        none: list[None] = [None]
        cells: list[tuple[Cell, str | None]] = []
        for target in targets or none:
            for shot in shots or none:
                for measure in claim.where.measure or none:
                    cells.append((Cell(target, shot), measure))
        return cells

    def in_paper(
        self, claim: Claim, term: Term, index: int, cell: Cell, measure: str | None = None, last: int = LAST_IN_PAPER
    ) -> float | None:
        """The paper's number for a term at a cell; None where it gives none."""
        if claim.paper is None:
            return None

        reference = claim.paper if isinstance(claim.paper, str) else claim.paper[index]
        generation = last if term.generation == "last" else term.generation
        names = {"arm": term.arm, "generation": generation, "measure": measure or term.measure}
        return _reference(reference.format(**names, target=cell.target, shot=cell.shot))

    def _difference(
        self, claim: Claim, term: Term, other: Term | None, cell: Cell, measure: str | None, last: int
    ) -> float | None:
        terms = claim.parsed()
        number = self.in_paper(claim, term, terms.index(term), cell, measure, last)
        boundary = self.in_paper(claim, other, terms.index(other), cell, measure, last) if other else claim.bound
        if number is None or boundary is None:
            return None
        return claim.sign * (number - boundary) - claim.tolerance


def _reference(text: str) -> float | None:
    table, *keys = text.split(".")
    return paper_number(table, *map(_key, keys))


def _key(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def load_claims(path: Path = CLAIMS) -> Claims:
    """Read and expand the list. Raises ValueError with one line for what it cannot use.

    An entry with `each` stands for one claim for every combination of its values, put in for {name} wherever it
    stands; `contradiction` stays with those of which it is true.
    """
    raw = read_yaml(path, "`git restore eval/claims` brings it back")
    raw.pop("names", None)  # anchors
    raw["claims"] = list(itertools.chain.from_iterable(map(_variants, raw["claims"])))
    try:
        claims = Claims.model_validate(raw)
    except ValidationError as error:
        raise ValueError(f"{path}: {first_problem(error)}") from None

    for sentence in _unknown_names(claims):
        raise ValueError(f"{path}: {sentence}")
    completed = [_completed(claims, claim) for claim in claims.claims]
    return claims.model_copy(update={"claims": completed})


def _variants(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """The claims that an entry stands for."""
    values_by_name = entry.pop("each", {})
    if not values_by_name:
        return [entry | {"group": entry["id"]}]

    variants = []
    for values in itertools.product(*values_by_name.values()):
        names = dict(zip(values_by_name, values, strict=True))
        identity = ".".join([entry["id"], *map(str, values)])
        variants.append(_filled(entry, names) | {"id": identity, "group": entry["id"]})
    return variants


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    """The same with names' values for {name}; other braces stay."""
    if isinstance(value, dict):
        return {key: _filled(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, names) for part in value]
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda braces: str(names.get(braces[1], braces[0])), value)
    return value


def _unknown_names(claims: Claims) -> Iterator[str]:
    """A sentence for each name that stands for nothing: a typing error would be a claim that never runs."""
    ids = set[str]()
    for claim in claims.claims:
        if claim.id in ids:
            yield f"{claim.id} stands there twice"
        ids.add(claim.id)
        if claim.area not in claims.areas:
            yield f"{claim.id}: area {claim.area}, expected one of {', '.join(claims.areas)}"

    known = [BASE_ARM, *load_params(ROOT / KNOWS_THE_ARMS).arms]
    for place, arm in _named_arms(claims):
        if arm not in known:
            yield f"{place}: arm {arm}, expected one of {KNOWS_THE_ARMS}: {', '.join(known)}"


def _named_arms(claims: Claims) -> Iterator[tuple[str, str]]:
    """Every arm, and where it is named."""
    for name, condition in claims.conditions.items():
        for arm in condition.arms:
            yield f"conditions.{name}", arm
    for claim in claims.claims:
        for term in claim.parsed():
            yield claim.id, term.arm


def _completed(claims: Claims, claim: Claim) -> Claim:
    """The same with what `all` was in the paper, and of a variant the contradiction only where it is one."""
    if claim.measure in claims.paper_cells:
        in_paper = {"paper_targets": claims.paper_cells[claim.measure].target}
        claim = claim.model_copy(update={"where": claim.where.model_copy(update=in_paper)})

    if claim.id != claim.group and claims.paper_agrees(claim):
        claim = claim.model_copy(update={"contradiction": None})
    return claim
