"""claims.json as it is read: what the report takes from it has to stand there as eval/claims/output.py writes it.

A document may be older than a key that is not read of it, or newer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from eval.claims.claim import Where
from seal.errors import UserError, first_problem, short
from seal.evaluations import EVALUATIONS
from seal.evidence import Open, read_checked_json

# eval/claims/rule.py's, which brings scipy; a test compares.
VerdictName = Literal["SUPPORTED", "WEAK", "INCONCLUSIVE", "REFUTED", "NOT-COMPARABLE", "NOT-RUN", "SKIPPED-DATA"]
# An arm, a generation of it, and the measure where it is not the other side's.
Term = Annotated[str, Field(pattern=r"^[a-z0-9_]+(@\d+)?(:[a-z_]+)?$")]
Pair = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]


class Absent(Open):
    """A comparison without evidence."""

    model_config = ConfigDict(extra="forbid", strict=True)
    term: Term
    other: Term | None
    verdict: VerdictName
    reason: str


class Measured(Open):
    term: Term
    other: Term | None
    verdict: VerdictName
    reason: str
    seeds: Annotated[list[int], Field(min_length=1)]
    means: Pair
    mean: FiniteFloat
    level: FiniteFloat
    interval: Pair | None
    item_interval: Pair | None
    detectable: FiniteFloat | None
    cells: list[str]
    notes: list[str]


class Checked(Open):
    name: str
    passed: bool
    failures: list[Annotated[str, Field(pattern=r"^[a-z0-9_]+-\d+: ")]]  # each begins with its run


class Paper(Open):
    agrees: bool | None
    differences: list[list[FiniteFloat]]
    after_as_many: list[list[FiniteFloat]] | None = None  # generations as ours, where the paper trained on


class FirstStated(Open):
    """By the conditions before they were restated."""

    verdict: VerdictName
    conditions: list[Checked]


class AsJudged(Open):
    """A claim's comparisons and conditions, and the verdict that follows."""

    verdict: VerdictName
    as_first_stated: FirstStated | None = None
    verdict_as_first_stated: None = None  # as it stood before: that document is to be made anew
    reason: str
    conditions: list[Checked]
    comparisons: Annotated[list[Measured | Absent], Field(min_length=1)]


class Judged(AsJudged):
    """A claim with its verdict, and what it is judged by once more."""

    id: str
    group: str
    says: str
    place: str
    area: str
    test: str
    unit: str
    primary: bool
    contradiction: Any
    needs: list[str]
    where: Where
    paper: Paper
    own_best: AsJudged | None = None
    where_held: AsJudged | None = None
    other_normal_long: AsJudged | None = None
    files: list[str]


class Condition(Open):
    says: str
    first_stated: str | None = None  # of one that has been restated


class Untested(Open):
    says: str
    place: str
    why: str


class Evidence(Open):
    sha256: str
    stage: str


class Document(Open):
    tier: str
    conditions: dict[str, Condition]
    claims: list[Judged]
    untestable: list[Untested]
    files: dict[str, Evidence]

    @model_validator(mode="after")
    def _names_are_there(self) -> Self:
        for claim in self.claims:
            strangers = {check.name for check in claim.conditions} - self.conditions.keys()
            strangers |= set(claim.files) - self.files.keys()
            strangers |= set(claim.needs) - {"train", *EVALUATIONS}
            if strangers:
                raise ValueError(f"claim {short(claim.id)} names {short(min(strangers))}, which is not there")
            if claim.where.target is None and _is_targeted(claim):
                raise ValueError(f"claim {short(claim.id)} names no target, expected one of {', '.join(claim.needs)}")
        return self


def _is_targeted(claim: Judged) -> bool:
    return any(EVALUATIONS[need].targeted for need in claim.needs if need != "train")


def read_verdicts(path: Path) -> Mapping[str, Any]:
    """A claims.json as it stands. Raises UserError where it is missing, or is none."""
    again = "`dvc repro -f claims` or `seal report --record` judges anew"
    if not path.is_file():
        raise UserError(f"{path}: no such file; `dvc repro claims` writes it")
    document = read_checked_json(path)
    try:
        Document.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}; {again}") from None
    return dict(document)
