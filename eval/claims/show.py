"""One claim in full, for a terminal: `seal claims --show ID`. What it says, what was compared, which conditions hold,
what its verdict rests on, and where the report has it."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from eval.claims.anchor import anchor
from seal.errors import UserError

PAGE = "report.html"
# A claim judged once more, beside its verdict: the first two of primary ones alone.
BESIDE = {
    "where_held": "over the seeds alone whose conditions all hold",
    "own_best": "by each method's own best numbers",
    "other_normal_long": "with the other Normal (long)",
}


def shown(document: Mapping[str, Any], identity: str) -> str:
    """Of a claims.json. Raises UserError for an identity that it does not have, and names those that are like it."""
    claims = {claim["id"]: claim for claim in document["claims"]}
    if identity not in claims:
        like = difflib.get_close_matches(identity, claims, n=3, cutoff=0.5)
        known = ", ".join(like) or "an id that `seal claims` lists"
        raise UserError(f"found no claim {identity}, expected {known}")
    return "\n".join(_lines(document, claims[identity]))


def _lines(document: Mapping[str, Any], claim: Mapping[str, Any]) -> Iterator[str]:
    yield f"{claim['id']}: {claim['verdict']} at {document['tier']}{' (primary)' if claim['primary'] else ''}"
    yield f"  {claim['says']}"
    yield f"  the paper: {claim['place']}{_in_paper(claim['paper'])}"
    if claim["reason"]:
        yield f"  reason: {claim['reason']}"
    yield from _judged(document, claim, claim["unit"])
    for key, words in BESIDE.items():
        if key in claim:
            yield f"  {words}: {claim[key]['verdict']}{_because(claim[key]['reason'])}"
            yield from map("  {}".format, _judged(document, claim[key], claim["unit"]))

    if claim["files"]:
        yield f"  rests on {len(claim['files'])} files by {_stages(document, claim['files'])}"
    yield f"  in the report: {PAGE}#{anchor(document['tier'], claim['id'])}"


def _judged(document: Mapping[str, Any], judged: Mapping[str, Any], unit: str) -> Iterator[str]:
    """Another verdict by the conditions as first stated; what was compared, and which conditions hold."""
    if first := words_as_first_stated(judged):
        yield f"  {first}"
    for comparison in judged["comparisons"]:
        yield f"  {_compared(comparison, unit)}"

    for condition in judged["conditions"]:
        failures = "; ".join(condition["failures"])
        says = document["conditions"][condition["name"]]["says"]
        yield f"  {condition['name']} {'holds' if condition['passed'] else f'fails ({failures})'}: {says}"


def words_as_first_stated(judged: Mapping[str, Any]) -> str:
    """The verdict by the conditions before they were restated, and how many seeds meet them; "" where both are the same
    by the conditions now."""
    if "as_first_stated" not in judged:
        return ""

    first = judged["as_first_stated"]
    seeds = set[int]().union(*(comparison.get("seeds", ()) for comparison in judged["comparisons"]))
    met = len(seeds - failing_seeds(first["conditions"]))
    return f"by the conditions as first stated, met by {met} of {len(seeds)} seeds: {first['verdict']}"


def failing_seeds(conditions: Iterable[Mapping[str, Any]]) -> set[int]:
    """The seeds of which one of these conditions does not hold; a failure begins with its run."""
    failures = chain.from_iterable(condition["failures"] for condition in conditions)
    return {int(words.partition(":")[0].rpartition("-")[2]) for words in failures}


def _because(reason: str) -> str:
    return f", {reason}" if reason else ""


def _in_paper(paper: Mapping[str, Any]) -> str:
    """Whether its own numbers are as claimed, where it has some."""
    words = {
        None: "gives no number",
        True: "its own numbers are as claimed",
        False: "its own numbers are not as claimed",
    }
    return f"; {words[paper['agrees']]}"


def _compared(comparison: Mapping[str, Any], unit: str) -> str:
    sides = f"{comparison['term']} against {comparison['other'] or 'the bound'}"
    if "mean" not in comparison:
        return f"{sides}: {comparison['verdict']}, {comparison['reason']}"

    first, second = comparison["means"]
    interval = comparison["interval"] or comparison["item_interval"]
    span = f" [{interval[0]:+.2f}, {interval[1]:+.2f}] at {100 * (1 - comparison['level']):.3g}%" if interval else ""
    seeds = ", ".join(map(str, comparison["seeds"]))
    difference = f"{comparison['mean']:+.2f}{span} {unit}".rstrip()
    numbers = f"{first:.2f} and {second:.2f}, difference {difference}, positive as claimed"
    alone = ["over test items alone: these two checkpoints differ, or do not"] if comparison["item_interval"] else []
    evidence = "; ".join([f"seeds {seeds}", *alone, *comparison["notes"]])
    return f"{sides}: {numbers}; {evidence}: {comparison['verdict']}"


def _stages(document: Mapping[str, Any], files: Sequence[str]) -> str:
    stages = sorted({document["files"][name]["stage"] for name in files})
    return ", ".join(stages)
