"""Where the numbers stand that a claim compares: the product of its measures, targets, shots and blocks."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.claims.claim import Claim, Term, Where
from eval.claims.measures import MEASURES, OfEvaluation, OfTraining
from seal.measure import Cell
from seal.readings import Missing
from seal.runs import RunFolder, Runs

# Of our ResNets; other networks' blocks and thresholds are any modules' names.
BLOCK = re.compile(r"Block(?P<layer>\d+)\.(?P<position>\d+)")
THRESHOLD = re.compile(r"layer(?P<layer>\d+)(\.(?P<module>\d+))?")


@dataclass(frozen=True)
class Side:
    """A term, and its arm's runs by seed."""

    term: Term
    runs: Mapping[int, RunFolder]


@dataclass(frozen=True)
class Place:
    cell: Cell
    measure: str | None  # instead of the terms' own

    def __str__(self) -> str:
        return " ".join(filter(None, (self.measure, str(self.cell))))


def places_of(runs: Runs, claim: Claim, sides: Sequence[Side], seeds: Sequence[int]) -> list[Place] | Missing:
    """The claim's cells; `all` is what any run has, or was skipped in."""
    where = claim.where
    if where.block is not None:
        return _places_by_block(where.block, sides, seeds)

    places = []
    none: list[None] = [None]
    for name in where.measure or none:
        measures = [MEASURES[name or side.term.measure] for side in sides]
        for target in _targets(runs, where, measures):
            for shot in _shots(where, sides, seeds, measures, target):
                places.append(Place(Cell(target, shot), name))
    return places or Missing("NOT-RUN", f"{', '.join(claim.needs())} has not been run")


def _targets(runs: Runs, where: Where, measures: Sequence[OfTraining | OfEvaluation]) -> Sequence[str | None]:
    """`all`: the paper's that have run, or else the others that have; and those whose data are missing."""
    if where.target != "all":
        return where.target or [None]

    met, evaluated = set[str](), set[str]()
    for measure in measures:
        met.update(runs.targets(measure.stage))
        evaluated.update(runs.targets(measure.stage, "gen-*.json"))

    skipped = met - evaluated
    return sorted((evaluated & set(where.paper_targets) or evaluated) | skipped)


def _shots(
    where: Where,
    sides: Sequence[Side],
    seeds: Sequence[int],
    measures: Sequence[OfTraining | OfEvaluation],
    target: str | None,
) -> Sequence[int | None]:
    if where.shot != "all":
        return where.shot or [None]

    shots = set[int]()
    for side in sides:
        for seed in seeds:
            for measure in measures:
                keys = measure.keys(side.runs[seed], side.term.generation, target)
                if not isinstance(keys, Missing):
                    shots.update(map(int, keys))
    return sorted(shots) or [None]


def _places_by_block(block: str, sides: Sequence[Side], seeds: Sequence[int]) -> list[Place] | Missing:
    """The blocks that `block` selects, by the names that the first probed run has and the sides' layer threshold."""
    reasons = []
    for side, seed in itertools.product(sides, seeds):
        names = MEASURES[side.term.measure].keys(side.runs[seed], side.term.generation, None)
        if not isinstance(names, Missing):
            selected = _selected(names, block, _layer_threshold(sides, seeds))
            if isinstance(selected, Missing):
                return selected
            return [Place(Cell(block=name), None) for name in selected]
        reasons.append(names)
    return reasons[0]


def _layer_threshold(sides: Sequence[Side], seeds: Sequence[int]) -> str | None:
    """The first that a run has; None where none has."""
    for side, seed in itertools.product(sides, seeds):
        threshold: str | None = side.runs[seed].settings.get("layer_threshold")
        if threshold:
            return threshold
    return None


def _selected(names: list[str], block: str, threshold: str | None) -> list[str] | Missing:
    """The blocks that `block` means, in the network's order; without a threshold, as for Normal, all are early.

    Which are early and which late is told by the names of our ResNets alone: Missing for another network's.
    """
    if block == "all":
        return names
    if block.endswith(".last"):
        layer = [name for name in names if name.startswith(block.removesuffix("last"))]
        return layer[-1:] or [block]
    if block not in ("early", "late"):
        return [block]

    edge: tuple[float, int] = (math.inf, 0)
    if threshold and threshold != "fc":
        begin = THRESHOLD.fullmatch(threshold)
        if begin is None:
            return Missing("NOT-RUN", f"{block} blocks: told by a threshold such as layer3, found {threshold}")
        edge = (int(begin["layer"]), int(begin["module"] or 0) + 1)  # blocks are named from 1, modules from 0

    selected: list[str] = []
    for name in names:
        place = BLOCK.fullmatch(name)
        if place is None:
            return Missing("NOT-RUN", f"{block} blocks: told by names such as Block3.1, found {name}")
        is_late = (int(place["layer"]), int(place["position"])) >= edge
        if is_late == (block == "late"):
            selected.append(name)
    return selected
