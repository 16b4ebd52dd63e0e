"""The numbers of a comparison's two sides, by seed and cell; or why there are none. eval/claims/comparisons.py asks."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.claims.cells import Place, Side, places_of
from eval.claims.claim import Claim, Term
from eval.claims.measures import MEASURES
from seal.config import BASE_ARM
from seal.readings import Missing, Reading
from seal.runs import Runs

Pair = tuple[Reading, Reading | None]  # of a term, and of the other where there is one


@dataclass(frozen=True)
class Pairs:
    """At every place a pair of every seed."""

    seeds: list[int]
    places: list[Place]
    rows: list[list[Pair]]  # [seeds][places]
    notes: tuple[str, ...]  # on what is left out

    @property
    def files(self) -> frozenset[Path]:
        files = set[Path]()
        for reading in itertools.chain.from_iterable(itertools.chain.from_iterable(self.rows)):
            if reading:
                files.update(reading.files)
        return frozenset(files)


def pairs_of(runs: Runs, claim: Claim, term: Term, other: Term | None) -> Pairs | Missing:
    """Of the claim's places those that a seed has on both sides, and of the seeds those that have all of these."""
    sides = [Side(side, {run.seed: run for run in runs.of(side.arm)}) for side in (term, other) if side]
    seeds = _common_seeds(sides)
    if isinstance(seeds, Missing):
        return seeds

    for seed in seeds:
        if reason := _not_comparable(sides, seed):
            return reason

    places = places_of(runs, claim, sides, seeds)
    if isinstance(places, Missing):
        return places

    pairs: dict[tuple[int, Place], Pair] = {}
    reasons: dict[tuple[int, Place], Missing] = {}
    for seed, place in itertools.product(seeds, places):
        pair = _read(sides, seed, place)
        if not isinstance(pair, Missing):
            pairs[seed, place] = pair
        elif pair.status == "NOT-COMPARABLE":
            return pair
        else:
            reasons[seed, place] = pair

    return _without_gaps(seeds, places, pairs, reasons)


def _common_seeds(sides: Sequence[Side]) -> list[int] | Missing:
    for side in sides:
        if not side.runs:
            return Missing("NOT-RUN", f"no run of {side.term.arm}")

    common = set.intersection(*(set(side.runs) for side in sides))
    if not common:
        return Missing("NOT-RUN", f"no seed has both {' and '.join(side.term.arm for side in sides)}")
    return sorted(common)


def _not_comparable(sides: Sequence[Side], seed: int) -> Missing | None:
    """Last generations are compared only where they are the same one."""
    if len(sides) < 2 or BASE_ARM in (side.term.arm for side in sides):
        return None

    (term, run), (other, other_run) = ((side.term, side.runs[seed]) for side in sides)
    number, other_number = run.number(term.generation), other_run.number(other.generation)
    if term.arm == other.arm and number == other_number and term.measure == other.measure:
        return Missing("NOT-RUN", f"{term} and {other} are the same generation of {run.name}")
    if term.generation == other.generation == "last" and number != other_number:
        lengths = f"{run.name} has {number} generations and {other_run.name} {other_number}"
        return Missing("NOT-COMPARABLE", lengths)
    return None


def _read(sides: Sequence[Side], seed: int, place: Place) -> Pair | Missing:
    readings = []
    for side in sides:
        measure = MEASURES[place.measure or side.term.measure]
        reading = measure.read(side.runs[seed], side.term.generation, place.cell)
        if isinstance(reading, Missing):
            return reading
        readings.append(reading)
    return readings[0], readings[1] if len(readings) > 1 else None


def _without_gaps(
    seeds: Sequence[int],
    places: Sequence[Place],
    pairs: Mapping[tuple[int, Place], Pair],
    reasons: Mapping[tuple[int, Place], Missing],
) -> Pairs | Missing:
    kept = [place for place in places if any((seed, place) in pairs for seed in seeds)]
    used = [seed for seed in seeds if kept and all((seed, place) in pairs for place in kept)]
    if not used:
        skipped = [reason for reason in reasons.values() if reason.status == "SKIPPED-DATA"]
        return [*skipped, *reasons.values(), Missing("NOT-RUN", "nothing of it has been run")][0]

    notes = []
    if left_out := [place for place in places if place not in kept]:
        notes.append(f"without {', '.join(map(str, left_out))}: {reasons[seeds[0], left_out[0]].reason}")
    for seed in seeds:
        if seed not in used:
            notes.append(f"without seed {seed}, which lacks some of it")

    rows = [[pairs[seed, place] for place in kept] for seed in used]
    return Pairs(used, kept, rows, tuple(notes))
