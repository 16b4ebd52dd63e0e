"""A claim of the paper as data: a sentence in our words, and how it is tested. eval/claims/claim_list.py reads them."""

import itertools
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from eval.claims.measures import MEASURES
from seal.runs import Generation
from seal.sections import BASE_ARM

ConditionName = Literal["R1", "R2", "R3", "R4"]
TERM = re.compile(r"(?P<arm>[a-z0-9_]+)(@(?P<generation>\d+))?(:(?P<measure>[a-z_]+))?")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Term(Strict):
    """One side of a comparison: `arm`, `arm@generation`, `arm:measure`. The generation is the run's last otherwise."""

    arm: str
    generation: Generation
    measure: str

    def __str__(self) -> str:
        return self.arm if self.generation == "last" or self.arm == BASE_ARM else f"{self.arm}@{self.generation}"


class Bound(Strict):
    says: str
    arms: list[str] = []  # that it looks at where the claim uses them; R4 goes by its own
    threshold: float
    loss: float | None = None  # R3's, in percent
    measure: str | None = None  # R2's, which may go by several

    @field_validator("measure")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in MEASURES:
            raise ValueError(f"measure {value}, expected one of {', '.join(MEASURES)}")
        return value

    def words(self) -> str:
        """`says` with its numbers."""
        return self.says.format(threshold=f"{self.threshold:g}", loss="" if self.loss is None else f"{self.loss:g}")


class FirstStated(Bound):
    """A condition before it was restated; these tiers' protocols have it."""

    tiers: list[str]


class Condition(Bound):
    first_stated: FirstStated | None = None


class OwnBest(Strict):
    """By a tier's protocol the arms in which methods are at their own best numbers, and the seeds of these."""

    arms: dict[str, str]  # by the method's own arm
    seeds: list[int]


class Where(Strict):
    """The cells that a claim is about, as a product.

    `all` targets are those of the paper that have been run, and where none has, the others that have, as stand-ins;
    `all` shots are what the record has.
    """

    target: list[str] | Literal["all"] | None = None
    shot: list[int] | Literal["all"] | None = None
    block: str | None = None  # all, early, late (by the layer threshold), Block2.last, or a block's name
    measure: list[str] = []  # instead of the claim's
    paper_targets: list[str] = []  # what `all` was in the paper; filled in from `paper_cells`


class Claim(Strict):
    """A sentence of the paper in our words, and how it is tested.

    order, sign: the first term above the second; sign compares one arm with its own earlier generation. margin: above
    it by more than `tolerance`. chain: each term above the next. first: the first above each other one. family: the
    same, by the mean over all cells. threshold: every term above `bound`. `side: below` turns every comparison round.
    """

    id: str
    group: str
    says: str
    place: str
    area: str  # of `areas`: under which heading tables list it
    test: Literal["order", "margin", "sign", "chain", "first", "family", "threshold"]
    measure: str
    terms: list[str] = Field(min_length=1)
    side: Literal["above", "below"] = "above"
    bound: float | None = None
    tolerance: float = 0.0
    why: str | None = None
    where: Where = Where()
    conditions: list[ConditionName] = []
    primary: bool = False
    paper: str | list[str] | None = None  # a reference for every term, with {arm} and so on, or one reference each
    paper_difference: str | None = None  # where the paper gives only the difference
    contradiction: str | None = None  # what the paper's own numbers say against the claim
    remark: str | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in (self.measure, *self.where.measure, *self._measures_of_terms()):
            if name not in MEASURES:
                raise ValueError(f"{self.id}: measure {name}, expected one of {', '.join(MEASURES)}")

        if (self.bound is not None) != (self.test == "threshold"):
            raise ValueError(f"{self.id}: `bound` belongs to a threshold, and only to it")
        if self.tolerance and not self.why:
            raise ValueError(f"{self.id}: tolerance {self.tolerance} without `why`")
        if len(self.terms) < 2 and self.test != "threshold":
            raise ValueError(f"{self.id}: found one term, expected two or more")
        return self

    def parsed(self) -> list[Term]:
        return list(map(self._term, self.terms))

    def _term(self, text: str) -> Term:
        match = TERM.fullmatch(text)
        if match is None:
            raise ValueError(f"{self.id}: term {text!r}, expected arm, arm@generation or arm:measure")

        generation: Generation = int(match["generation"]) if match["generation"] else "last"
        if match["arm"] == BASE_ARM:
            generation = 1
        return Term(arm=match["arm"], generation=generation, measure=match["measure"] or self.measure)

    def pairs(self) -> list[tuple[Term, Term | None]]:
        """The comparisons whose worst verdict is the claim's."""
        terms = self.parsed()
        if self.test == "threshold":
            return list(itertools.product(terms, [None]))
        if self.test == "chain":
            return list(itertools.pairwise(terms))
        return list(itertools.product(terms[:1], terms[1:]))

    @property
    def sign(self) -> int:
        return 1 if self.side == "above" else -1

    @property
    def unit(self) -> str:
        return MEASURES[self.parsed()[0].measure].unit

    def needs(self) -> list[str]:
        """The evaluations whose stages the claim needs; train is the training's own record."""
        names = self.where.measure or self._measures_of_terms()
        return sorted({MEASURES[name].stage for name in names})

    def _measures_of_terms(self) -> list[str]:
        return [term.measure for term in self.parsed()]


class Untestable(Strict):
    id: str
    says: str
    place: str
    why: str
