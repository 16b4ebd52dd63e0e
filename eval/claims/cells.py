"""Where the numbers stand that a claim compares: the product of its measures, targets, shots and blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

from eval.claims.claim import Claim, Term, Where
from eval.claims.evidence import Absent, Cell, Record, RunRecord, entry
from eval.claims.measures import MEASURES
from eval.claims.rule import Verdict

Runs = Sequence[tuple[RunRecord, Term]]


@dataclass(frozen=True)
class Place:
    cell: Cell
    measure: str | None  # instead of the terms' own

    def __str__(self) -> str:
        return " ".join(part for part in (self.measure, str(self.cell)) if part)


def places_of(record: Record, claim: Claim, term: Term, other: Term | None, seeds: Sequence[int]) -> list[Place]:
    """The claim's cells; `all` is what any run has, or was skipped in. Raises Absent for none."""
    where, terms = claim.where, [each for each in (term, other) if each]
    runs = [(record.run(each.arm, seed), each) for each in terms for seed in seeds]
    if where.block is not None:
        return [Place(Cell(block=block), None) for block in _blocks(runs, where.block)]
    found = []
    measures: list[str | None] = [*where.measure] or [None]
    for measure in measures:
        names = {MEASURES[measure or each.measure].evaluation or "" for each in terms}
        targets: list[str | None] = [None]
        if where.target is not None:
            targets = [*(_targets(record, where, names) if where.target == "all" else where.target)]
        for target in targets:
            shots: list[int | None] = [None]
            if where.shot is not None:
                shots = [*(_shots(runs, names, target) if where.shot == "all" else where.shot)] or [None]
            found += [Place(Cell(target, shot), measure) for shot in shots]
    if not found:
        raise Absent(Verdict.NOT_RUN, f"{', '.join(claim.needs())} has not been run")
    return found


def _targets(record: Record, where: Where, names: set[str]) -> list[str]:
    run = {target for name in names for target in record.targets_of(name, "gen-*.json")}
    skipped = {target for name in names for target in record.targets_of(name)} - run
    paper = {*where.paper_targets}
    return sorted((run & paper or run) | skipped)


def _shots(runs: Runs, names: set[str], target: str | None) -> list[int]:
    shots: set[int] = set()
    for run, term in runs:
        for name in names:
            try:
                path, values = run.evaluation(f"{name}-{target}", term.generation)
            except Absent:
                continue
            shots |= {int(shot) for shot in entry(values, "shots", path)}
    return sorted(shots)


def _blocks(runs: Runs, block: str) -> list[str]:
    """The blocks that `block` selects, by the names that the first probed run has."""
    reasons = []
    for run, term in runs:
        try:
            path, values = run.evaluation("prediction_depth", term.generation)
        except Absent as reason:
            reasons.append(reason)
            continue
        return _selected(list(entry(values, "blocks", path)), block, str(run.summary["generations"]["layer_threshold"]))
    raise reasons[0]


def _selected(names: list[str], block: str, threshold: str) -> list[str]:
    layer, _, first = threshold.removeprefix("layer").partition(".")
    edge = (int(layer), int(first or 0) + 1)  # blocks are named from 1, modules from 0
    late = [name for name in names if tuple(int(part) for part in name.removeprefix("Block").split(".")) >= edge]
    if block.endswith(".last"):
        return [name for name in names if name.startswith(block.removesuffix("last"))][-1:]
    return {"all": names, "late": late, "early": [name for name in names if name not in late]}.get(block, [block])
