"""The verdicts as JSON and as a table in the terminal: what the stage, eval/claims/__main__.py, writes and shows."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.claims.claim import Bound, Claim, Untestable
from eval.claims.claim_list import LAST_IN_PAPER, Claims
from eval.claims.comparisons import Comparison
from eval.claims.conditions import Check
from eval.claims.rule import Judgement, Verdict, by_weight
from eval.claims.show import BESIDE
from eval.claims.verdicts import ClaimVerdict
from seal.record import file_sha256, rounded
from seal.runs import RunFolder, Runs
from seal.stage_names import TRAINED, stage_of

SCHEMA = 1
FIELDS = {
    "id", "group", "says", "place", "area", "test", "measure", "tolerance", "why", "primary", "contradiction", "remark",
    "where",
}  # fmt: skip
Stages = Mapping[str, Mapping[str, str]]  # run -> its training's stage at TRAINED, its evaluations' at their folders
COLOURS = {Verdict.SUPPORTED: "green", Verdict.WEAK: "cyan", Verdict.INCONCLUSIVE: "yellow", Verdict.REFUTED: "red"}


def as_json(runs: Runs, claims: Claims, verdicts: Sequence[ClaimVerdict], stages: Stages) -> dict[str, Any]:
    """Schema, tier, runs, conditions, claims with their verdicts, untestable, and the files that the verdicts rest on.

    Differences and intervals are in the measure's unit, from zero, and positive on the claimed side. Files are named
    from the run's folder on.
    """
    names: dict[Path, str] = {}
    files: dict[str, dict[str, str]] = {}
    for path, run in _runs_by_file(runs, verdicts).items():
        names[path] = path.relative_to(run.folder.parent).as_posix()
        files[names[path]] = {"sha256": file_sha256(path), "stage": _stage(path, run, stages)}

    tier = runs.the_same("tier")
    first_bounds = claims.first_conditions()
    conditions = {name: _condition(bound, first_bounds[name]) for name, bound in claims.conditions_of(tier).items()}
    judged = [_claim(runs, claims, verdict, names) for verdict in verdicts]
    described = {
        "schema": SCHEMA,
        "tier": tier,
        "runs": sorted(run.name for run in runs),
        "conditions": conditions,
        "claims": judged,
        "untestable": list(map(Untestable.model_dump, claims.untestable)),
        "files": files,
    }
    return described | ({"broken": runs.broken} if runs.broken else {})


def _runs_by_file(runs: Runs, verdicts: Sequence[ClaimVerdict]) -> dict[Path, RunFolder]:
    """Every file that a verdict rests on, and whose it is."""
    folders = {run.folder: run for run in runs}
    owners = {}
    for verdict in verdicts:
        for path in verdict.files:
            folder = next(parent for parent in path.parents if parent in folders)
            owners[path] = folders[folder]
    return owners


def _stage(path: Path, run: RunFolder, stages: Stages) -> str:
    """The DVC stage that writes a run's file; where the record does not say, as of a main arm."""
    part, *rest = path.relative_to(run.folder).parts
    folder = rest[0] if part == "eval" else TRAINED
    return stages.get(run.name, {}).get(folder) or stage_of(run.name, folder)


def _condition(bound: Bound, first: Bound) -> dict[str, Any]:
    shown = bound.model_dump(exclude_unset=True, include={"arms", "threshold", "loss"})
    as_first_stated = {"first_stated": first.words()} if first.words() != bound.words() else {}
    return {"says": bound.words()} | as_first_stated | shown


def _in_paper(runs: Runs, claims: Claims, claim: Claim) -> dict[str, Any]:
    """The paper's own differences, from zero; where our training ends earlier, and the paper has that generation too,
    those after as many."""
    told: dict[str, Any] = {"differences": _from_zero(claim, claims.paper_differences(claim))}
    arms = {term.arm for term in claim.parsed()}
    last = max((run.last for run in runs if run.arm in arms), default=LAST_IN_PAPER)
    after_as_many = _from_zero(claim, claims.paper_differences(claim, last))
    if after_as_many != told["differences"] and all(after_as_many):
        told["after_as_many"] = after_as_many
    return told | {"agrees": claims.paper_agrees(claim)}


def _from_zero(claim: Claim, differences: Sequence[Sequence[float]]) -> list[list[float]]:
    from_zero = []
    for pair in differences:
        from_zero.append([difference + claim.tolerance for difference in pair])
    return from_zero


def _claim(runs: Runs, claims: Claims, verdict: ClaimVerdict, names: Mapping[Path, str]) -> dict[str, Any]:
    claim = verdict.claim
    described: dict[str, Any] = {
        "unit": claim.unit,
        "needs": claim.needs(),
        "paper": _in_paper(runs, claims, claim),
        "files": [names[path] for path in verdict.files],
    } | _evidence(verdict)
    for name in BESIDE:
        beside: ClaimVerdict | None = getattr(verdict, name)
        if beside is not None:
            described[name] = _evidence(beside)
    return claim.model_dump(include=FIELDS) | dict(rounded(described))


def _evidence(verdict: ClaimVerdict) -> dict[str, Any]:
    first = verdict.as_first_stated
    as_first_stated = {"as_first_stated": _by_conditions(first)} if first else {}
    compared = list(map(_comparison, verdict.comparisons, verdict.judgements))
    return as_first_stated | _by_conditions(verdict) | {"p": verdict.p, "comparisons": compared}


def _by_conditions(verdict: ClaimVerdict) -> dict[str, Any]:
    return {
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        "conditions": list(map(_check, verdict.checks)),
    }


def _check(check: Check) -> dict[str, Any]:
    return {"name": check.name, "passed": check.passed, "failures": check.failures}


def _comparison(comparison: Comparison, judgement: Judgement | None) -> dict[str, Any]:
    term, other = comparison.term, comparison.other
    sides = {"term": str(term), "other": other and str(other)}
    if other and other.measure != term.measure:
        sides = {"term": f"{term}:{term.measure}", "other": f"{other}:{other.measure}"}
    if comparison.absent:
        return sides | {"verdict": comparison.absent.status, "reason": comparison.absent.reason}

    assert judgement is not None
    assert comparison.sample is not None
    shown = judgement.shifted(comparison.boundary)
    return sides | {
        "verdict": judgement.verdict,
        "reason": "",
        "seeds": comparison.seeds,
        "means": comparison.means,
        "differences": [difference + comparison.boundary for difference in comparison.sample.differences],
        "mean": shown.mean,
        "interval": shown.interval,
        "item_interval": shown.item_interval,  # one seed: these two checkpoints differ
        "level": judgement.level,
        "detectable": judgement.detectable,
        "cells": comparison.cells,
        "notes": comparison.notes,
    }


def print_table(verdicts: Sequence[ClaimVerdict], console: Console) -> None:
    """One line for each claim with evidence, its variants counted; then why others have no verdict."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("claim", "place", "verdict", "difference"):
        table.add_column(column, no_wrap=column not in ("place", "difference"))
    for column in ("n", "80%"):
        table.add_column(column, no_wrap=True, justify="right")

    without_evidence: dict[Verdict, list[str]] = {}
    for group, variants in itertools.groupby(verdicts, lambda verdict: verdict.claim.group):
        members = list(variants)
        if any(verdict.judged for verdict in members):
            table.add_row(*_row(group, members))
        else:
            without_evidence.setdefault(members[0].verdict, []).append(group)

    console.print(table)
    for line in _legend(verdicts):
        console.print(line, markup=False)
    for absent, groups in without_evidence.items():
        console.print(f"{absent}: {', '.join(groups)}", markup=False)


def _legend(verdicts: Sequence[ClaimVerdict]) -> list[str]:
    """What the table's marks mean, and why claims are not comparable."""
    lines = ["positive: as claimed. n: seeds. 80%: the difference that n seeds would tell in 80% of studies"]
    if any(verdict.claim.primary for verdict in verdicts):
        lines.append("*: primary, at Holm's level")
    if any(verdict.verdict_as_first_stated for verdict in verdicts):
        lines.append("as first stated: by conditions before they were restated (eval/claims/claims.yaml)")
    if any(map(_is_over_items_alone, verdicts)):
        lines.append("~: one seed, over test items alone: these two checkpoints differ")

    for verdict in verdicts:
        reason = f"{verdict.verdict}: {verdict.reason}"
        if verdict.verdict == Verdict.NOT_COMPARABLE and reason not in lines:
            lines.append(reason)
    return lines


def _is_over_items_alone(verdict: ClaimVerdict) -> bool:
    return any(judgement.item_interval for _, judgement in verdict.judged)


def _row(group: str, members: Sequence[ClaimVerdict]) -> list[str]:
    first = members[0]
    place = first.claim.place.partition(";")[0].partition(",")[0]
    if len(members) > 1:
        counts = Counter(member.verdict for member in members)
        counted = [f"{counts[verdict]} {verdict}" for verdict in Verdict if verdict in counts]
        return [group, place, "", ", ".join(counted), "", ""]

    comparison, judgement = _deciding(first)
    shown = judgement.shifted(comparison.boundary)
    difference = f"{rounded(shown.mean):+.2f}"  # as claims.json and the report round it
    if interval := shown.interval or shown.item_interval:
        difference += f" {'' if shown.interval else '~'}[{interval[0]:.2f}, {interval[1]:.2f}]"

    verdict = f"[{COLOURS.get(first.verdict, 'dim')}]{first.verdict}[/]{' *' if first.claim.primary else ''}"
    if first.verdict_as_first_stated:
        verdict += f" ({first.verdict_as_first_stated} as first stated)"
    detectable = "" if judgement.detectable is None else f"{judgement.detectable:.2f}"
    return [group, place, verdict, f"{difference} {first.claim.unit}".rstrip(), str(judgement.seeds), detectable]


def _deciding(verdict: ClaimVerdict) -> tuple[Comparison, Judgement]:
    """Of a claim's comparisons the one that decides."""
    return min(verdict.judged, key=lambda pair: by_weight(pair[1].verdict, pair[1].mean))
