"""From the record to one number a seed: the paired differences that a claim is judged on.

eval/claims/verdicts.py asks for a claim's comparisons; what has no evidence says why, which is no error.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eval.claims.claim import Claim, Term
from eval.claims.measures import MEASURES
from eval.claims.normal_long import resolved
from eval.claims.pairs import Pairs, pairs_of
from eval.claims.rule import LEVEL, Sample, item_error, limit_of_all, z_quantile
from seal.evidence import BrokenEvidence, Items
from seal.readings import Missing, Reading
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
    files: frozenset[Path] = frozenset()
    notes: tuple[str, ...] = ()
    absent: Missing | None = None  # why there is no sample

    def arms(self) -> set[str]:
        return {self.term.arm, (self.other or self.term).arm}


def comparisons(runs: Runs, claim: Claim) -> list[Comparison]:
    """Every comparison whose worst verdict is the claim's. What has no evidence says why in `absent`."""
    compared = []
    for pair in claim.pairs():
        for term, other in resolved(runs, *pair):
            compared.append(compare(runs, claim, term, other))
    return compared


def compare(runs: Runs, claim: Claim, term: Term, other: Term | None) -> Comparison:
    """The claim's comparison of these two terms, whichever arm stands for Normal (long)."""
    pairs = pairs_of(runs, claim, term, other)
    if isinstance(pairs, Missing):
        return Comparison(term, other, absent=pairs)
    return _compared(claim, term, other, pairs)


def _compared(claim: Claim, term: Term, other: Term | None, pairs: Pairs) -> Comparison:
    first, second = _values(pairs, 0), _values(pairs, 1)
    differences = claim.sign * (first - second) - claim.tolerance

    paired = other is not None and term.measure == other.measure
    error = math.hypot(family_error(pairs, paired), unseen_error(pairs, MEASURES[term.measure].scale))

    files = set[Path]()
    for own, theirs in itertools.chain.from_iterable(pairs.rows):
        files.update(own.files, theirs.files)

    return Comparison(
        term,
        other,
        cells=tuple(filter(None, map(str, pairs.places))),
        seeds=tuple(pairs.seeds),
        sample=Sample(tuple(differences.mean(axis=1).tolist()), error),
        boundary=claim.tolerance,
        means=(float(first.mean()), float(second.mean())),
        files=frozenset(files),
        notes=pairs.notes,
    )


def _values(pairs: Pairs, side: int) -> NDArray[np.float64]:
    """One side's numbers [seeds, cells]."""
    values = []
    for row in pairs.rows:
        values.append([pair[side].value for pair in row])
    return np.array(values)


def family_error(pairs: Pairs, paired: bool) -> float:
    """v / sqrt(N) of the mean over cells. `paired`: both sides have the same test items.

    Cells on one set of images are not independent: within a target their errors are added as they are, which bounds
    that of the sum; between targets they are added in squares. Cells without values per item add nothing.
    """
    by_images: dict[str | None, float] = {}
    for place, column in zip(pairs.places, zip(*pairs.rows, strict=True), strict=True):
        own, theirs = zip(*column, strict=True)  # a reading a seed
        first, second = _stacked(own), _stacked(theirs)
        if first is None or second is None:
            continue

        if paired and first.shape != second.shape:
            counts = f"found {first.shape[1]} test items in {own[0].files[-1]} and {second.shape[1]}"
            raise BrokenEvidence(f"{counts} in {theirs[0].files[-1]}, expected the same; run both anew")
        error = item_error(first - second) if paired else math.hypot(item_error(first), item_error(second))
        by_images[place.cell.target] = by_images.get(place.cell.target, 0.0) + error

    return math.hypot(*by_images.values()) / len(pairs.places)


def unseen_error(pairs: Pairs, scale: float) -> float:
    """What stands for an error where each of several seeds saw none, or all: such shares have no spread, and the true
    one may still be as far off as their limit. `scale`: of a share in the measure's unit."""
    if len(pairs.seeds) == 1:
        return 0.0

    errors = []
    for side in zip(*itertools.chain.from_iterable(pairs.rows), strict=True):
        limits = [reading.limit / scale for reading in side]
        alike = len({reading.value for reading in side}) == 1
        if alike and all(limits):
            errors.append(scale * limit_of_all(limits) / z_quantile(LEVEL))
    return math.hypot(*errors)


def _stacked(readings: Sequence[Reading]) -> Items | None:
    """Values per test item [seeds, N]; None where a reading has none."""
    items = []
    for reading in readings:
        if reading.items is None:
            return None
        items.append(reading.items)

    counts = list(map(len, items))
    if len(set(counts)) > 1:
        places = ", ".join(str(reading.files[-1]) for reading in readings)
        raise BrokenEvidence(f"found {counts} test items in {places}, expected the same number")
    return np.stack(items)
