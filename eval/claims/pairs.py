"""The numbers of a comparison's two sides, by seed and cell; or why there are none. eval/claims/comparisons.py asks."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.claims.cells import Place, Side, places_of
from eval.claims.claim import Claim, Term
from eval.claims.measures import MEASURES, OfTraining
from seal.evaluations import EVALUATIONS, Sections
from seal.readings import EvaluationFile, Missing, Reading
from seal.runs import Runs
from seal.sections import BASE_ARM

Pair = tuple[Reading, Reading]  # of a term, and of the other or the bound


@dataclass(frozen=True)
class Pairs:
    """At every place a pair of every seed."""

    seeds: list[int]
    places: list[Place]
    rows: list[list[Pair]]  # [seeds][places]
    notes: tuple[str, ...]  # on what is left out


def pairs_of(runs: Runs, claim: Claim, term: Term, other: Term | None) -> Pairs | Missing:
    """Of the claim's places those that a seed has on both sides, and of the seeds those that have all of these."""
    sides = [_side(runs, side) for side in (term, other) if side]
    seeds = _common_seeds(sides)
    if isinstance(seeds, Missing):
        return seeds

    for seed in seeds:
        if reason := _not_comparable(sides, seed):
            return reason

    places = places_of(runs, claim, sides, seeds)
    if isinstance(places, Missing):
        return places

    pairs: dict[int, dict[Place, Pair]] = {seed: {} for seed in seeds}
    reasons: dict[tuple[int, Place], Missing] = {}
    for seed, place in itertools.product(seeds, places):
        pair = _pair(claim, sides, seed, place)
        if not isinstance(pair, Missing):
            pairs[seed][place] = pair
        elif pair.status == "NOT-COMPARABLE":
            return pair
        else:
            reasons[seed, place] = pair

    return _without_gaps(places, pairs, reasons)


def _side(runs: Runs, term: Term) -> Side:
    return Side(term, {run.seed: run for run in runs.of(term.arm)})


def _common_seeds(sides: Sequence[Side]) -> list[int] | Missing:
    for side in sides:
        if not side.runs:
            return Missing("NOT-RUN", f"no run of {side.term.arm}")

    first, last = sides[0], sides[-1]
    if common := set(first.runs) & set(last.runs):
        return sorted(common)
    return Missing("NOT-RUN", f"no seed has both {first.term.arm} and {last.term.arm}")


def _not_comparable(sides: Sequence[Side], seed: int) -> Missing | None:
    """Last generations are compared only where they are the same one."""
    term, other = sides[0].term, sides[-1].term
    run, other_run = sides[0].runs[seed], sides[-1].runs[seed]
    if len(sides) < 2 or BASE_ARM in (term.arm, other.arm):
        return None

    number, other_number = run.number(term.generation), other_run.number(other.generation)
    if term.arm == other.arm and number == other_number and term.measure == other.measure:
        return Missing("NOT-RUN", f"{term} and {other} are the same generation of {run.name}")
    if term.generation == other.generation == "last" and number != other_number:
        lengths = f"{run.name} has {number} generations and {other_run.name} {other_number}"
        return Missing("NOT-COMPARABLE", lengths)
    return None


def _pair(claim: Claim, sides: Sequence[Side], seed: int, place: Place) -> Pair | Missing:
    readings = []
    for side in sides:
        measure = MEASURES[place.measure or side.term.measure]
        reading = measure.read(side.runs[seed], side.term.generation, place.cell)
        if isinstance(reading, Missing):
            return reading
        readings.append(reading)

    if reason := _looked_otherwise(sides, seed, place):
        return reason
    bound = Reading(claim.bound or 0.0, items=None, files=())
    first, second = [*readings, bound][:2]
    return first, second


def _looked_otherwise(sides: Sequence[Side], seed: int, place: Place) -> Missing | None:
    """Where one evaluation looked at the two networks by other numbers of its own, or at other images: its items are
    then no pairs. A number that one file is too old to have is none of another value."""
    files = []
    for side in sides:
        measure = MEASURES[place.measure or side.term.measure]
        if isinstance(measure, OfTraining):
            return None
        file = side.runs[seed].evaluation(measure.stage, side.term.generation, place.cell.target)
        if isinstance(file, Missing):
            return None
        files.append((measure.stage, file))

    (stage, first), (other_stage, second) = files[0], files[-1]
    if stage != other_stage:
        return None

    kept, others = looked_by(stage, first), looked_by(stage, second)
    for key in sorted(kept.keys() & others.keys()):  # of several the same, whatever a process hashes by
        if kept[key] != others[key]:
            sides_differ = f"found {key} {kept[key]} in {first.path} and {others[key]} in {second.path}"
            return Missing("NOT-COMPARABLE", f"{sides_differ}; run both anew")
    return None


def looked_by(stage: str, file: EvaluationFile) -> dict[str, Any]:
    """What decides its values beside the network: the numbers of its section that are not free, and its images.

    A file leaves a number unnamed that is its default (`Looked`).
    """
    evaluation, section = EVALUATIONS[stage], Sections.model_fields[stage].annotation
    assert section is not None
    own = {key: field for key, field in section.model_fields.items() if key not in evaluation.free}
    defaults = {key: field.default for key, field in own.items() if not field.is_required()}
    named = {key: value for key, value in file.params.items() if key in own}
    return defaults | named | {"data_sha256": file.data_sha256}


def _without_gaps(
    places: Sequence[Place],
    pairs: Mapping[int, Mapping[Place, Pair]],
    reasons: Mapping[tuple[int, Place], Missing],
) -> Pairs | Missing:
    read = set[Place]().union(*pairs.values())
    kept = [place for place in places if place in read]
    left_out = [place for place in places if place not in read]

    notes, used, rows = [], [], []
    if kept and left_out:
        why = reasons[min(pairs), left_out[0]].reason
        notes.append(f"without {', '.join(map(str, left_out))}: {why}")

    for seed, pairs_of_seed in pairs.items():
        if len(pairs_of_seed) == len(kept) > 0:
            used.append(seed)
            rows.append([pairs_of_seed[place] for place in kept])
        else:
            notes.append(f"without seed {seed}, which lacks some of it")
    if used:
        return Pairs(used, kept, rows, tuple(notes))

    for reason in reasons.values():
        if reason.status == "SKIPPED-DATA":
            return reason
    return next(iter(reasons.values()), Missing("NOT-RUN", "nothing of it has been run"))
