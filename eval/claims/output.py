"""The verdicts as JSON and as a table in the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.claims.claim import Condition
from eval.claims.claim_list import Claims
from eval.claims.comparisons import Comparison
from eval.claims.evidence import Record
from eval.claims.measures import MEASURES
from eval.claims.rule import Judgement, Verdict, worst
from eval.claims.verdicts import ClaimVerdict
from seal.config import BASE_ARM
from seal.record import file_sha256

SCHEMA = 1
FIELDS = {
    "id",
    "group",
    "says",
    "place",
    "test",
    "measure",
    "tolerance",
    "why",
    "primary",
    "contradiction",
    "remark",
    "where",
}
COLOURS = {Verdict.SUPPORTED: "green", Verdict.WEAK: "cyan", Verdict.INCONCLUSIVE: "yellow", Verdict.REFUTED: "red"}


def as_json(record: Record, claims: Claims, found: Sequence[ClaimVerdict], stages: Mapping[str, str]) -> dict[str, Any]:
    """Schema, tier, runs, conditions, claims with their verdicts, untestable, and the files that the verdicts rest on.

    Differences and intervals are in the measure's unit, from zero, and positive on the claimed side. Files are named
    from the run's folder on. `stages`: arm -> the stage that trains it.
    """
    folders = {run.folder: run for run in record.runs.values()}

    def name(path: Path) -> str:
        run = next(parent for parent in path.parents if parent in folders)
        return path.relative_to(run.parent).as_posix()

    def stage(path: Path) -> str:
        run = next(folders[parent] for parent in path.parents if parent in folders)
        part, *rest = path.relative_to(run.folder).parts
        if part == "eval":
            evaluation, _, target = rest[0].partition("-")
            return f"{evaluation}@{run.folder.name}{f'-{target}' if target else ''}"
        return f"base@{run.seed}" if run.arm == BASE_ARM else f"{stages.get(run.arm, 'train')}@{run.folder.name}"

    files = sorted({path for each in found for path in each.files})
    return {
        "schema": SCHEMA,
        "tier": record.tier,
        "runs": sorted(run.folder.name for run in record.runs.values()),
        "conditions": {key: _condition(each) for key, each in claims.conditions.items()},
        "claims": [_claim(claims, each) | {"files": [name(path) for path in each.files]} for each in found],
        "untestable": [each.model_dump() for each in claims.untestable],
        "files": {name(path): {"sha256": file_sha256(path), "stage": stage(path)} for path in files},
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return condition.model_dump(exclude_none=True) | {"says": condition.words()}


def _claim(claims: Claims, found: ClaimVerdict) -> dict[str, Any]:
    claim = found.claim
    from_zero = [[each + claim.tolerance for each in pair] for pair in claims.paper_differences(claim)]
    pairs = zip(found.comparisons, found.judgements, strict=True)
    verdict: dict[str, Any] = _rounded({
        "unit": MEASURES[claim.parsed()[0].measure].unit,
        "needs": claim.needs(),
        "verdict": found.verdict,
        "reason": found.reason,
        "p": found.p,
        "conditions": [
            {"name": each.name, "passed": each.passed, "failures": each.failures} for each in found.checks
        ],
        "paper": {"differences": from_zero, "agrees": claims.paper_agrees(claim)},
        "comparisons": [_comparison(each, judgement) for each, judgement in pairs],
    })  # fmt: skip
    return claim.model_dump(include=FIELDS) | verdict


def _comparison(comparison: Comparison, judgement: Judgement | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "term": str(comparison.term),
        "other": comparison.other and str(comparison.other),
        "verdict": judgement.verdict if judgement else comparison.absent and comparison.absent.verdict,
        "reason": str(comparison.absent or ""),
    }
    if judgement is None or comparison.sample is None:
        return described
    shown = judgement.shifted(comparison.boundary)
    return described | {
        "seeds": comparison.seeds,
        "means": comparison.means,
        "differences": [each + comparison.boundary for each in comparison.sample.differences],
        "mean": shown.mean,
        "interval": shown.interval,
        "item_interval": shown.item_interval,  # one seed: these two checkpoints differ
        "level": judgement.level,
        "detectable": judgement.detectable,
        "cells": comparison.cells,
        "wins": comparison.wins,
        "notes": comparison.notes,
    }


def _rounded(value: Any) -> Any:
    """Floats to seven significant digits."""
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(each) for each in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def print_table(found: Sequence[ClaimVerdict], console: Console) -> None:
    """One line for each claim with evidence, its variants counted; then why others have no verdict."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("claim", "place", "verdict", "difference"):
        table.add_column(column, no_wrap=column not in ("place", "difference"))
    for column in ("n", "80%"):
        table.add_column(column, no_wrap=True, justify="right")
    absent: dict[Verdict, list[str]] = {}
    for group, members in ((key, list(each)) for key, each in groupby(found, lambda each: each.claim.group)):
        if any(judgement for each in members for judgement in each.judgements):
            table.add_row(*_row(group, members))
        else:
            absent.setdefault(members[0].verdict, []).append(group)
    console.print(table)
    lines = ["positive: as claimed. n: seeds. 80%: the difference that n seeds would tell in 80% of studies"]
    if any(each.claim.primary for each in found):
        lines.append("*: primary, at Holm's level")
    if any(judgement and judgement.item_interval for each in found for judgement in each.judgements):
        lines.append("~: one seed, over test items alone: these two checkpoints differ")
    lines += dict.fromkeys(f"{each.verdict}: {each.reason}" for each in found if each.verdict == Verdict.NOT_COMPARABLE)
    lines += [f"{verdict}: {', '.join(names)}" for verdict, names in absent.items()]
    for line in lines:
        console.print(line, markup=False)


def _row(group: str, members: Sequence[ClaimVerdict]) -> list[str]:
    first = members[0]
    place = first.claim.place.partition(";")[0].partition(",")[0]
    if len(members) > 1:
        counts = Counter(each.verdict for each in members)
        words = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if verdict in counts)
        return [group, place, "", words, "", ""]
    verdict = f"[{COLOURS.get(first.verdict, 'dim')}]{first.verdict}[/]{' *' if first.claim.primary else ''}"
    judged = [pair for pair in zip(first.comparisons, first.judgements, strict=True) if pair[1]]
    comparison, judgement = _deciding([(each, one) for each, one in judged if one])
    shown = judgement.shifted(comparison.boundary)
    words = f"{_rounded(shown.mean):+.2f}"  # as claims.json and the report round it
    if interval := shown.interval or shown.item_interval:
        words += f" {'' if shown.interval else '~'}[{interval[0]:.2f}, {interval[1]:.2f}]"
    unit = MEASURES[first.claim.parsed()[0].measure].unit
    detectable = "" if judgement.detectable is None else f"{judgement.detectable:.2f}"
    return [group, place, verdict, f"{words} {unit}".rstrip(), str(judgement.seeds), detectable]


def _deciding(judged: Sequence[tuple[Comparison, Judgement]]) -> tuple[Comparison, Judgement]:
    """Of a claim's comparisons the one with the worst verdict, and of those the smallest difference."""
    decides = worst([judgement.verdict for _, judgement in judged])
    return min((each for each in judged if each[1].verdict == decides), key=lambda each: each[1].mean)
