"""From the record to one number a seed: the paired differences that a claim is judged on.

eval/claims/verdicts.py asks for a claim's comparisons; what has no evidence says why, which is no error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.claims.cells import Place
from eval.claims.claim import Claim, Term
from eval.claims.normal_long import resolved
from eval.claims.pairs import Pair, Pairs, pairs_of
from eval.claims.rule import LEVEL, Sample, item_error, z_quantile
from seal.evidence import BrokenEvidence, Items
from seal.readings import Missing, Reading
from seal.record import ROUNDING
from seal.runs import Runs


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
    absent: Missing | None = None  # why there is no sample

    def arms(self) -> set[str]:
        return {term.arm for term in (self.term, self.other) if term}


def comparisons(runs: Runs, claim: Claim) -> list[Comparison]:
    """Every comparison whose worst verdict is the claim's. What has no evidence says why in `absent`."""
    compared = []
    for pair in claim.pairs():
        for term, other in resolved(runs, *pair):
            pairs = pairs_of(runs, claim, term, other)
            if isinstance(pairs, Missing):
                compared.append(Comparison(term, other, absent=pairs))
            else:
                compared.append(_compared(claim, term, other, pairs))
    return compared


def _compared(claim: Claim, term: Term, other: Term | None, pairs: Pairs) -> Comparison:
    bound = claim.bound or 0.0
    first = np.array([[pair[0].value for pair in row] for row in pairs.rows])  # [seeds, cells]
    second = np.array([[pair[1].value if pair[1] else bound for pair in row] for row in pairs.rows])
    differences = claim.sign * (first - second) - claim.tolerance

    paired = other is not None and term.measure == other.measure
    error = math.hypot(family_error(pairs.places, pairs.rows, paired), unseen_error(pairs.rows))

    return Comparison(
        term,
        other,
        cells=tuple(str(place) for place in pairs.places if str(place)),
        seeds=tuple(pairs.seeds),
        sample=Sample(tuple(differences.mean(axis=1).tolist()), error),
        boundary=claim.tolerance,
        means=(float(first.mean()), float(second.mean())),
        wins=int((differences.mean(axis=0) > ROUNDING).sum()),
        files=pairs.files,
        notes=pairs.notes,
    )


def family_error(places: Sequence[Place], rows: Sequence[Sequence[Pair]], paired: bool) -> float:
    """v / sqrt(N) of the mean over cells. `rows`: [seeds][cells]; `paired`: both sides have the same test items.

    Cells on one set of images are not independent: within a target their errors are added as they are, which bounds
    that of the sum; between targets they are added in squares. Cells without values per item add nothing.
    """
    by_images: dict[str | None, float] = {}
    for index, place in enumerate(places):
        column = [row[index] for row in rows]
        first, second = _stacked([pair[0] for pair in column]), _stacked([pair[1] for pair in column])
        if first is None or second is None:
            continue

        if paired:
            _check_items_are_the_same(first, second, column[0])
            error = item_error(first - second)
        else:
            error = math.hypot(item_error(first), item_error(second))
        by_images[place.cell.target] = by_images.get(place.cell.target, 0.0) + error

    return math.hypot(*by_images.values()) / len(places)


def unseen_error(rows: Sequence[Sequence[Pair]]) -> float:
    """What stands for an error where no seed saw any: zeros have no spread, and still may each be their upper limit.

    Over n seeds the limit 1 - 0.05^(1/M) of M batches becomes that of n M batches, about its n-th part.
    """
    errors = []
    for side in (0, 1):
        readings = [pair[side] for row in rows for pair in row]
        limits = [reading.limit for reading in readings if reading]
        if limits and all(limits):
            errors.append(sum(limits) / len(limits) / len(rows) / z_quantile(LEVEL))
    return math.hypot(*errors)


def _stacked(readings: Sequence[Reading | None]) -> Items | None:
    """Values per test item [seeds, N]; None where a reading has none."""
    items = [reading.items for reading in readings if reading is not None and reading.items is not None]
    if len(items) < len(readings):
        return None

    counts = [len(values) for values in items]
    if len(set(counts)) > 1:
        places = ", ".join(str(reading.files[-1]) for reading in readings if reading)
        raise BrokenEvidence(f"found {counts} test items in {places}, expected the same number")
    return np.stack(items)


def _check_items_are_the_same(first: Items, second: Items, pair: Pair) -> None:
    if first.shape == second.shape:
        return

    ours, theirs = (reading.files[-1] if reading else "" for reading in pair)
    counts = f"found {first.shape[1]} test items in {ours} and {second.shape[1]} in {theirs}"
    raise BrokenEvidence(f"{counts}, expected the same; run both anew")
