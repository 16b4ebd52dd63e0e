"""From the record to one number a seed: the paired differences that a claim is judged on."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from eval.claims.cells import Place, places_of
from eval.claims.claim import Claim, Term
from eval.claims.evidence import Absent, Items, Reading, Record
from eval.claims.measures import MEASURES
from eval.claims.normal_long import resolved
from eval.claims.rule import LEVEL, Sample, Verdict, item_error, z_quantile
from seal.config import BASE_ARM
from seal.evidence import BrokenEvidence
from seal.record import ROUNDING


@dataclass(frozen=True)
class Comparison:
    """One term beside another, or beside a bound, over the seeds that have both."""

    term: Term
    other: Term | None
    cells: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    sample: Sample | None = None  # differences beyond the claim's boundary
    boundary: float = 0.0
    means: tuple[float, float] | None = None  # of the term, and of the other or the bound
    wins: int = 0  # cells whose mean difference is beyond the boundary
    files: frozenset[Path] = frozenset()
    notes: tuple[str, ...] = ()
    absent: Absent | None = field(default=None, compare=False)

    def arms(self) -> set[str]:
        return {term.arm for term in (self.term, self.other) if term}


def comparisons(record: Record, claim: Claim) -> list[Comparison]:
    """Every comparison whose worst verdict is the claim's. What has no evidence says why in `absent`."""
    found = []
    for term, other in claim.pairs():
        for pair in resolved(record, term, other):
            try:
                found.append(_compare(record, claim, *pair))
            except Absent as reason:
                found.append(Comparison(*pair, absent=reason))
    return found


def _compare(record: Record, claim: Claim, term: Term, other: Term | None) -> Comparison:
    seeds = _common_seeds(record, term, other)
    for seed in seeds:
        _same_length(record, seed, term, other)
    places = places_of(record, claim, term, other, seeds)
    readings: dict[tuple[int, Place], tuple[Reading, Reading | None]] = {}
    reasons: dict[tuple[int, Place], Absent] = {}
    for seed in seeds:
        for place in places:
            try:
                readings[seed, place] = (
                    _read(record, seed, place, term), _read(record, seed, place, other) if other else None
                )  # fmt: skip
            except Absent as reason:
                if reason.verdict == Verdict.NOT_COMPARABLE:
                    raise
                reasons[seed, place] = reason
    kept = [place for place in places if any((seed, place) in readings for seed in seeds)]
    used = [seed for seed in seeds if kept and all((seed, place) in readings for place in kept)]
    if not used:
        skipped = [reason for reason in reasons.values() if reason.verdict == Verdict.SKIPPED_DATA]
        raise [*skipped, *reasons.values(), Absent(Verdict.NOT_RUN, "nothing of it has been run")][0]
    left_out = [place for place in places if place not in kept]
    notes = [f"without {', '.join(map(str, left_out))}: {reasons[seeds[0], left_out[0]]}"] if left_out else []
    notes += [f"without seed {seed}, which lacks some of it" for seed in seeds if seed not in used]
    return _differences(claim, term, other, used, kept, readings, tuple(notes))


def _differences(
    claim: Claim, term: Term, other: Term | None, seeds: list[int], places: list[Place],
    readings: dict[tuple[int, Place], tuple[Reading, Reading | None]], notes: tuple[str, ...],
) -> Comparison:  # fmt: skip
    bound = claim.bound or 0.0
    pairs = [[readings[seed, place] for place in places] for seed in seeds]
    first = np.array([[a.value for a, _ in row] for row in pairs])  # [seeds, cells]
    second = np.array([[b.value if b else bound for _, b in row] for row in pairs])
    differences = claim.sign * (first - second) - claim.tolerance
    paired = other is not None and term.measure == other.measure
    error = math.hypot(family_error(places, pairs, paired), unseen_error(pairs))
    sample = Sample(tuple(differences.mean(axis=1).tolist()), error)
    wins = int((differences.mean(axis=0) > ROUNDING).sum())
    files = {file for row in pairs for pair in row for reading in pair if reading for file in reading.files}
    return Comparison(
        term, other, tuple(str(place) for place in places if str(place)), tuple(seeds), sample, claim.tolerance,
        (float(first.mean()), float(second.mean())), wins, frozenset(files), notes,
    )  # fmt: skip


def family_error(places: list[Place], pairs: list[list[tuple[Reading, Reading | None]]], paired: bool) -> float:
    """v / sqrt(N) of the mean over cells. `pairs`: [seeds][cells]; `paired`: both sides have the same test items.

    Cells on one set of images are not independent: within a target their errors are added as they are, which bounds
    that of the sum; between targets they are added in squares. Cells without values per item add nothing.
    """
    by_images: dict[str | None, float] = {}
    for index, place in enumerate(places):
        first, second = (_stacked([row[index][side] for row in pairs]) for side in (0, 1))
        if first is None or second is None:
            continue
        if paired and first.shape != second.shape:
            ours, other = pairs[0][index]
            found = f"found {first.shape[1]} test items in {ours.files[-1]} and {second.shape[1]}"
            raise BrokenEvidence(f"{found} in {other.files[-1] if other else ''}, expected the same; run both anew")
        error = item_error(first - second) if paired else math.hypot(item_error(first), item_error(second))
        by_images[place.cell.target] = by_images.get(place.cell.target, 0.0) + error
    return math.hypot(*by_images.values()) / len(places)


def unseen_error(pairs: list[list[tuple[Reading, Reading | None]]]) -> float:
    """What stands for an error where no seed saw any: zeros have no spread, and still may each be their upper limit.

    Over n seeds the limit 1 - 0.05^(1/M) of M batches becomes that of n M batches, about its n-th part.
    """
    limits = [[each.limit for row in pairs for pair in row if (each := pair[side])] for side in (0, 1)]
    return math.hypot(
        *(sum(side) / len(side) / len(pairs) / z_quantile(LEVEL) for side in limits if side and all(side))
    )


def _stacked(readings: list[Reading | None]) -> Items | None:
    """Values per test item [seeds, N]; None where a reading has none."""
    items = [reading.items for reading in readings if reading is not None and reading.items is not None]
    if len(items) < len(readings):
        return None
    if len({len(each) for each in items}) > 1:
        places = ", ".join(str(reading.files[-1]) for reading in readings if reading)
        raise BrokenEvidence(f"found {[len(each) for each in items]} test items in {places}, expected the same number")
    return np.stack(items)


def _read(record: Record, seed: int, place: Place, term: Term) -> Reading:
    return MEASURES[place.measure or term.measure].read(record.run(term.arm, seed), term.generation, place.cell)


def _common_seeds(record: Record, term: Term, other: Term | None) -> list[int]:
    for arm in (each.arm for each in (term, other) if each):
        if not record.seeds(arm):
            raise Absent(Verdict.NOT_RUN, f"no run of {arm}")
    common = set(record.seeds(term.arm)) & set(record.seeds(other.arm if other else term.arm))
    if not common:
        raise Absent(Verdict.NOT_RUN, f"no seed has both {term.arm} and {other.arm if other else ''}")
    return sorted(common)


def _same_length(record: Record, seed: int, term: Term, other: Term | None) -> None:
    """Last generations are compared only where they are the same one."""
    if other is None or BASE_ARM in (term.arm, other.arm):
        return
    runs = record.run(term.arm, seed), record.run(other.arm, seed)
    numbers = runs[0].number(term.generation), runs[1].number(other.generation)
    if term.arm == other.arm and numbers[0] == numbers[1] and term.measure == other.measure:
        raise Absent(Verdict.NOT_RUN, f"{term} and {other} are the same generation of {runs[0].folder.name}")
    if term.generation == other.generation == "last" and numbers[0] != numbers[1]:
        words = f"{runs[0].folder.name} has {numbers[0]} generations and {runs[1].folder.name} {numbers[1]}"
        raise Absent(Verdict.NOT_COMPARABLE, words)
