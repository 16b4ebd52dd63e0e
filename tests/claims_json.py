"""Invented entries of claims.json, for the tests of what reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

WHERE = {"target": None, "shot": None, "block": None, "measure": [], "paper_targets": []}


def comparison(term: str = "seal", other: str | None = "llf", **changes: Any) -> dict[str, Any]:
    """SEAL 1.25 points above LLF, by one seed."""
    return {
        "term": term, "other": other, "verdict": "WEAK", "reason": "", "means": [61.25, 60.0], "mean": 1.25,
        "interval": None, "item_interval": [-1.0, 3.5], "seeds": [0], "level": 0.05, "detectable": None, "cells": [],
        "notes": [],
    } | changes  # fmt: skip


def absent(term: str, other: str, reason: str, verdict: str = "NOT-RUN") -> dict[str, Any]:
    return {"term": term, "other": other, "verdict": verdict, "reason": reason}


def claim(identity: str, verdict: str, *comparisons: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Of Table 2, on test accuracy."""
    return {
        "id": identity, "group": identity.partition(".")[0], "says": f"{identity} is so.", "place": "Table 2",
        "area": "C2", "test": "order", "primary": False, "unit": "points", "needs": ["train"], "where": WHERE,
        "verdict": verdict, "reason": "", "conditions": [], "contradiction": None, "files": [],
        "paper": {"differences": [], "agrees": None}, "comparisons": list(comparisons),
    } | changes  # fmt: skip


def document(claims: Sequence[Mapping[str, Any]], tier: str = "smoke", **changes: Any) -> dict[str, Any]:
    """With a claim of every other area, as a claims.json has."""
    others = [f"C{number}" for number in range(1, 8) if number != 2]
    fillers = [claim(f"filler_{area}", "NOT-RUN", absent("seal", "llf", "none"), area=area) for area in others]
    return {
        "schema": 1, "tier": tier, "claims": [*claims, *fillers], "untestable": [], "files": {},
        "conditions": {"R2": {"says": "the ascent ends at chance"}},
    } | changes  # fmt: skip
