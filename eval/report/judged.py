"""A record with its verdicts: what each part of the page is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eval.claims.anchor import anchor
from eval.claims.claim_list import CLAIMS
from eval.report.settings import Study
from seal.yaml_files import read_yaml

Claim = Mapping[str, Any]  # of claims.json


@dataclass(frozen=True)
class Judged:
    """The runs of one tier, and their claims.json."""

    study: Study
    document: Mapping[str, Any]

    @property
    def tier(self) -> str:
        return self.study.params.tier

    @property
    def claims(self) -> Sequence[Claim]:
        return list(self.document["claims"])

    def claims_of(self, area: str) -> list[Claim]:
        return [claim for claim in self.claims if claim["area"] == area]

    def anchor(self, name: str) -> str:
        """Of a claim's identity, or of an area's name."""
        return anchor(self.tier, name)


@cache
def areas() -> dict[str, str]:
    """Groups of claims by their names, with their titles, in the order of tables."""
    return dict(read_yaml(CLAIMS, "`git restore eval/claims` brings it back")["areas"])
