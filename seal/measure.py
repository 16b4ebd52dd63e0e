"""What a number of an evaluation is: where it stands in the evaluation's files, its unit, what the tables call it.

Plain values, known to all: seal/evaluations.py describes each evaluation by them, seal/runs.py reads numbers by them.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = Mapping[str, "NDArray[Any]"]


@dataclass(frozen=True)
class Cell:
    """Where in an evaluation a number stands; what does not apply is None."""

    target: str | None = None
    shot: int | None = None
    block: str | None = None

    def __str__(self) -> str:
        shot = None if self.shot is None else f"{self.shot}-shot"
        return " ".join(filter(None, (self.target, shot, self.block)))


NOWHERE = Cell()


@dataclass(frozen=True)
class Measure:
    """A number in a generation's JSON, below `values`.

    Paths are keys joined by dots, in which {shot} stands for the cell's; an entry of a list is found by the cell's
    block, whose place is its name's in the list `blocks`.
    """

    at: str
    words: str  # of a row in a table; {target}, {shot} and {block} stand for the cell's
    unit: str = ""
    scale: float = 1.0  # from the file's number to one in the unit
    digits: int = 2  # after the point
    items: str | Callable[[Arrays, int], Any] | None = None  # of the .npz, one a test item
    interval: str | None = None  # path of the half width that the evaluation gives itself
    limit: str | None = None  # path of a share's 95% upper limit, where none was seen
    skipped: str | None = None  # path of the reason why the cell could not be evaluated
    instead: str | None = None  # a key that stands there alone where the parameters leave this number out
    compared: bool = True  # whether `seal compare` judges a run by it
    shown: bool = False  # whether the table "one number of each evaluation" has a row of it
    cell: Mapping[str, Any] | None = None  # of that row, beside its target

    @property
    def over(self) -> str | None:
        """`shot` or `block`, where the measure has a number for each."""
        for name in ("shot", "block"):
            if f"{{{name}}}" in self.at:
                return name
        return None


@dataclass(frozen=True)
class NetworkSize:
    """What a cost needs to know of the model."""

    parameters: int
    features: int  # of one image, all blocks' outputs together


@dataclass(frozen=True)
class Images:
    """What a cost needs to know of a dataset."""

    train: int
    val: int
    test: int
    classes: int

    @property
    def total(self) -> int:
        return self.train + self.val + self.test


@dataclass(frozen=True)
class Rates:
    """How much of each kind of work a machine does in a second; infinite where it does that kind in another way."""

    trained: float
    measured: float
    seen: float
    tuned: float
    curved: float
    searched: float
    saved: float
    small: float
    launched: float
    compilers: float


@dataclass(frozen=True)
class Work:
    """What a stage costs before it has run, by kind of work."""

    trained: float = 0.0  # images: forward, backward and step, in the training's batches and precision
    measured: float = 0.0  # images: forward in the same
    seen: float = 0.0  # images: forward in float32, many at once
    tuned: float = 0.0  # images: a step of scales and shifts of few-shot episodes, many episodes at once
    curved: float = 0.0  # images: a Hessian-vector product of a batch of the training's size
    searched: float = 0.0  # GFLOP of products between images' features
    saved: float = 0.0  # bytes of resume states, each written over the last
    small: float = 0.0  # s that benchmarks/README.md's CPU takes for small operations, which a GPU launches ...
    launched: float = 0.0  # ... so many of
    compilers: float = 0.0  # 1 where a process makes a torch optimizer, the first of which imports torch's compiler
    seconds: float = 0.0  # on any machine
    bytes: float = 0.0  # of disk
    memory: float = 0.0  # bytes of the device's memory, beside network and images

    def times(self, networks: int) -> "Work":
        """The same of so many networks, one after the other in one process."""
        repeated = {}
        for kind in fields(self):
            if kind.name not in ("compilers", "memory"):
                repeated[kind.name] = networks * getattr(self, kind.name)
        return replace(self, **repeated)

    def time(self, rates: Rates) -> float:
        """Seconds."""
        seconds: float = self.seconds
        for kind in fields(rates):
            seconds += getattr(self, kind.name) / getattr(rates, kind.name)
        return seconds


def keys_of(values: Mapping[str, Any], measure: Measure) -> list[str]:
    """The shots or the blocks of which these values have the measure."""
    if measure.over == "block":
        return list(values["blocks"])
    if measure.over == "shot":
        return list(lookup(values, measure.at.partition(".{shot}")[0]))
    return []


def numbers_of(values: Mapping[str, Any], measure: Measure) -> dict[str, float]:
    """The measure's finite numbers, each by its path with the cell's keys in it; none where these values lack it."""
    numbers = {}
    for cell, number in stated(values, measure):
        if isinstance(number, int | float) and math.isfinite(number):
            numbers[measure.at.format(shot=cell.shot, block=cell.block)] = float(number)
    return numbers


def stated(values: Mapping[str, Any], measure: Measure, target: str | None = None) -> Iterator[tuple[Cell, Any]]:
    """The measure's cells and what stands there; older values may lack it, at some or at all."""
    with suppress(LookupError):
        for cell in cells_of(measure, keys_of(values, measure), target):
            with suppress(LookupError):
                yield cell, lookup(values, measure.at, cell, values.get("blocks", ()))


def cells_of(measure: Measure, keys: Iterable[str], target: str | None = None) -> list[Cell]:
    """A measure's cells: at each of these shots or blocks, or the one of a measure that is over none."""
    if measure.over == "shot":
        return [Cell(target, shot=int(key)) for key in keys]
    if measure.over == "block":
        return [Cell(target, block=key) for key in keys]
    return [Cell(target)]


def lookup(values: Any, path: str, cell: Cell = NOWHERE, blocks: Sequence[str] = ()) -> Any:
    """What stands at a path. Raises LookupError, whose message names the key, where nothing does."""
    for key in path.split("."):
        if key == "{block}":
            values = values[blocks.index(str(cell.block))]
            continue
        key = key.format(shot=cell.shot)
        if not isinstance(values, Mapping) or key not in values:
            raise LookupError(key)
        values = values[key]
    return values


def votes_that_are_right(arrays: Arrays, block: int) -> "NDArray[Any]":
    """Of prediction depth's arrays: whether a block's probe gives each test image its class, bool [N]."""
    votes, labels = arrays["votes"], arrays["labels"]
    if votes.ndim != 2 or len(votes) != len(labels):
        raise ValueError(f"found votes {votes.shape}, expected images by blocks")
    right: NDArray[Any] = votes[:, block] == labels
    return right
