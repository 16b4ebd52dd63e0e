"""Files of a record, read and checked: what cannot be used is an error that names the file and says how to mend it.

seal/runs.py reads a run's folder by these. Old records are read by their own keys: a key that is there and unknown is
left alone, and one is missed only where it is asked for.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from seal.errors import UserError, first_problem, short
from seal.measure import Arrays
from seal.record import read_json

Items = NDArray[np.float64]

# What a record means that is older than a choice: the one side of it that there was.
BEFORE_A_CHOICE = {"model": {"classifier_bias": "zero"}}
# What numpy and zipfile raise for damaged files; a damaged header may be any text, and is parsed as Python's literals.
DAMAGE = (
    OSError, EOFError, ValueError, TypeError, LookupError, BadZipFile, NotImplementedError, RuntimeError, SyntaxError,
    MemoryError, zlib.error, struct.error,
)  # fmt: skip
MEND = "`dvc checkout` or `dvc repro` restores it"


class BrokenEvidence(UserError):
    """Something that the record says is there is missing or cannot be used; the message names the file."""


class Open(BaseModel):
    """Of many entries those that are read: a record may be older than a key, or newer."""

    model_config = ConfigDict(extra="allow", strict=True)


class GenerationsFacts(Open):
    num_generations: int
    schedule: str
    layer_threshold: str | None = None  # generation 1 has none


class Place(Open):
    generation: int


class End(Open):
    best: dict[str, Any] | None = None  # of the best epoch so far, where it was kept


class Outcome(Place, End):
    pass


class SummaryFacts(Open):
    arm: str
    seed: int
    tier: str
    method: str
    data: str
    data_sha256: str
    provenance: dict[str, Any]
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    generations: GenerationsFacts
    options: dict[str, Any] = {}
    outcomes: list[Outcome]
    final: End | None
    diverged: Place | None


def read_summary(path: Path) -> Mapping[str, Any]:
    """A run's summary.json, an older one with the choices it had. Raises BrokenEvidence where it lacks what a training
    writes."""
    raw = read_checked_json(path)
    check_facts(SummaryFacts, raw, path)
    name = f"{raw['arm']}-{raw['seed']}"
    if name != path.parent.name:
        raise BrokenEvidence(f"{path}: found run {name}, expected {path.parent.name}; {MEND}")

    if "network" in raw.get("model", {}):  # another's, of which there was none before
        return dict(raw)

    summary = dict(raw)
    for section, before in BEFORE_A_CHOICE.items():
        if section in raw:
            summary[section] = before | raw[section]
    return summary


def check_facts(kind: type[Open], document: Any, path: Path, mend: str = MEND) -> None:
    """Raises BrokenEvidence where a file lacks one of these facts, or has another kind of it. `mend`: what to do."""
    try:
        kind.model_validate(document)
    except ValidationError as error:
        raise BrokenEvidence(f"{path}: {first_problem(error)}; {mend}") from None


@contextmanager
def as_written(path: Path) -> Iterator[None]:
    """A value of another kind than is written there is broken evidence, wherever in the file it is met."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise BrokenEvidence(f"{path}: not as it was written ({short(repr(error))}); {MEND}") from None


def read_checked_json(path: Path) -> Any:
    """Raises BrokenEvidence for what is not JSON."""
    try:
        return read_json(path)
    except (ValueError, RecursionError) as error:
        raise BrokenEvidence(f"{path}: not JSON ({short(str(error))}); {MEND}") from None


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz. Raises BrokenEvidence where it is missing or damaged."""
    if not path.is_file():
        raise BrokenEvidence(f"{path}: not found, though summary.json beside it records the run; {MEND}")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
    except DAMAGE as error:
        raise BrokenEvidence(f"{path}: not arrays as numpy writes them ({short(str(error))}); {MEND}") from None

    if any(not isinstance(array, np.ndarray) for array in arrays.values()):
        raise BrokenEvidence(f"{path}: not arrays as numpy writes them; {MEND}")
    return arrays


def entry(values: Any, key: str, path: Path) -> Any:
    """What stands at `key`. Raises BrokenEvidence where nothing does."""
    if not isinstance(values, Mapping) or key not in values:
        raise BrokenEvidence(f"{path}: no {key!r}, which this version expects; {MEND}")
    return values[key]


def finite(value: Any, path: Path, key: str) -> float:
    """The number that stands at `key`. Raises BrokenEvidence for anything else, NaN included."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        number = float(value) if is_number else math.nan
    except OverflowError:  # an integer of JSON has as many digits as it likes
        number = math.inf

    if not math.isfinite(number):
        raise BrokenEvidence(f"{path}: {key}: found {short(repr(value))}, expected a finite number; {MEND}")
    return number


def finite_items(values: Any, path: Path, key: str) -> Items:
    if values is None or values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BrokenEvidence(f"{path}: {key}: expected finite numbers, one a test item; {MEND}")
    return np.asarray(values, np.float64)
