"""A measure's number in an evaluation's file: with its parts where it is a mean, or the reason why there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from seal.errors import short
from seal.evidence import MEND, BrokenEvidence, Items, entry, finite, finite_items, read_arrays
from seal.measure import Arrays, Cell, Measure, keys_of, lookup

Status = Literal["NOT-RUN", "SKIPPED-DATA", "NOT-COMPARABLE"]


@dataclass(frozen=True)
class Missing:
    """Why a run has no such number: a result, not an error."""

    status: Status
    reason: str


@dataclass(frozen=True)
class Reading:
    """A number in its measure's unit, and its parts [N], one a test item, whose mean it is."""

    value: float
    items: Items | None
    files: tuple[Path, ...]
    limit: float = 0.0  # of a share of which none was seen, the 95% upper limit; in the measure's unit
    interval: float | None = None  # half width over its items, as the evaluation gives it; in the measure's unit


@dataclass(frozen=True)
class EvaluationFile:
    """An evaluation of one generation: gen-NN.json, and gen-NN.npz beside it. Raises BrokenEvidence for sections that
    are none."""

    path: Path
    values: Mapping[str, Any]
    params: Mapping[str, Any]
    data_sha256: str | None = None  # of the pack whose images it looked at

    def __post_init__(self) -> None:
        for key, section in (("values", self.values), ("params", self.params)):
            if not isinstance(section, Mapping):
                raise BrokenEvidence(f"{self.path}: {key}: found {short(repr(section))}, expected a section; {MEND}")

    @cached_property
    def arrays(self) -> Arrays:
        return read_arrays(self.path.with_suffix(".npz"))

    def keys(self, measure: Measure) -> list[str]:
        """The shots or the blocks of which it has the measure. Raises BrokenEvidence where it does not name them."""
        try:
            return keys_of(self.values, measure)
        except LookupError as error:
            raise _no_key(self.path, error) from None


def generation_of(path: Path) -> int:
    """Whose file gen-NN.json is. Raises BrokenEvidence for one of another name, as a copy's."""
    number = path.stem.removeprefix("gen-")
    if not number.isdecimal():
        raise BrokenEvidence(f"{path}: its name: found {short(path.name)}, expected gen-NN.json; {MEND}")
    return int(number)


def reading(
    run: str, evaluation: str, file: EvaluationFile, measure: Measure, cell: Cell, items: bool
) -> Reading | Missing:
    """A measure's number at a cell of an evaluation's file, with its parts where `items` asks for them; `run` and
    `evaluation` name both where it is missing."""
    first_key = measure.at.partition(".")[0]
    if measure.instead in file.values and first_key not in file.values:
        return Missing("NOT-RUN", f"{run}: {evaluation}.solvers leaves {first_key} out")
    if measure.over == "shot" and str(cell.shot) not in entry(file.values, first_key, file.path):
        return Missing("NOT-RUN", f"{run}/eval/{evaluation}: {cell.shot}-shot: not run")
    if measure.skipped and (reason := _optional(file.values, measure.skipped, cell)):
        return Missing("SKIPPED-DATA", f"{evaluation}: {cell.shot}-shot: {reason}")

    blocks = list(entry(file.values, "blocks", file.path)) if measure.over == "block" else []
    if measure.over == "block" and cell.block not in blocks:
        return Missing("NOT-RUN", f"{run}: no block {cell.block}")
    value = _number_at(file, measure.at, cell, blocks)
    parts = _items(file, measure, cell, blocks) if items and measure.items else None
    files = (file.path,) if parts is None else (file.path, file.path.with_suffix(".npz"))

    limit = _optional(file.values, measure.limit, cell) if measure.limit else None
    interval = _optional(file.values, measure.interval, cell) if measure.interval else None
    return Reading(
        measure.scale * value,
        parts,
        files,
        limit=measure.scale * finite(limit or 0.0, file.path, str(measure.limit)),
        interval=None if interval is None else measure.scale * finite(interval, file.path, str(measure.interval)),
    )


def _number_at(file: EvaluationFile, at: str, cell: Cell, blocks: Sequence[str]) -> float:
    shown = at.format(shot=cell.shot, block=cell.block)
    try:
        value = lookup(file.values, at, cell, blocks)
    except LookupError as error:
        raise _no_key(file.path, error) from None
    return finite(value, file.path, shown)


def _no_key(path: Path, error: LookupError) -> BrokenEvidence:
    return BrokenEvidence(f"{path}: no {str(error.args[0])!r}, which this version expects; {MEND}")


def _optional(values: Mapping[str, Any], path: str, cell: Cell) -> Any:
    try:
        return lookup(values, path, cell)
    except LookupError:
        return None


def _items(file: EvaluationFile, measure: Measure, cell: Cell, blocks: Sequence[str]) -> Items:
    path = file.path.with_suffix(".npz")
    if isinstance(measure.items, str):
        key = measure.items.format(shot=cell.shot)
        return measure.scale * finite_items(file.arrays.get(key), path, key)
    assert measure.items is not None
    try:
        values = measure.items(file.arrays, blocks.index(str(cell.block)))
    except (LookupError, ValueError) as error:
        raise BrokenEvidence(f"{path}: {error}; {MEND}") from None
    return measure.scale * finite_items(values, path, measure.at)
