"""A method's numbers as an arm gives them, checked by the annotations of the method's dataclass.

Types and ranges stand in one place, that dataclass; nothing here knows a method. config.py asks for each arm.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args, get_origin

T = TypeVar("T")
Bounds = Mapping[str, Any]  # the values of `training`, which a range may name


class ImpossibleOption(ValueError):
    """A number that is missing, or that its annotation does not allow; the message begins with its name."""


class Mark(Protocol):
    """What narrows an annotated type."""

    def allows(self, value: Any, bounds: Bounds) -> bool: ...
    def words(self, bounds: Bounds) -> str: ...


@dataclass(frozen=True)
class Range:
    """At least `least`; and at most `most`, a number or the key of `training` that says it, where there is a limit."""

    least: float
    most: float | str = math.inf

    def limit(self, bounds: Bounds) -> float:
        return float(bounds[self.most]) if isinstance(self.most, str) else self.most

    def allows(self, value: Any, bounds: Bounds) -> bool:
        return bool(self.least <= value <= self.limit(bounds))

    def words(self, bounds: Bounds) -> str:
        name = f"{self.most} = " if isinstance(self.most, str) else ""
        most = "" if self.most == math.inf else f" and at most {name}{self.limit(bounds):g}"
        return f", at least {self.least:g}{most}"


@dataclass(frozen=True)
class Pattern:
    """A string that matches `regex` as a whole, such as `example`."""

    regex: str
    example: str

    def allows(self, value: Any, bounds: Bounds) -> bool:
        return re.fullmatch(self.regex, value) is not None

    def words(self, bounds: Bounds) -> str:
        return f" such as {self.example}"


Generation = Annotated[int, Range(1)]
Epochs = Annotated[int, Range(0, most="epochs_per_generation")]  # of a generation
Scale = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
# A parameter of seal/models.py's networks.
ParameterName = Annotated[
    str,
    Pattern(
        r"((layer[1-4]\.[0-9]+\.)?(conv1|bn1)|layer[1-4]\.[0-9]+\.(conv[23]|bn[23]|downsample\.[01])|fc)\.(weight|bias)",
        example="fc.bias",
    ),
]
NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}


def options_from(kind: type[T], values: Mapping[str, Any], bounds: Bounds) -> T:
    """The dataclass `kind` with these values, of which it may take a part.

    Raises ImpossibleOption for the first that is missing or not allowed.
    """
    checked = {}
    for field in fields(kind):  # type: ignore[arg-type]
        expected = words(field.type, bounds)
        if field.name not in values:
            raise ImpossibleOption(f"{field.name}: missing key, expected {expected}")

        value = values[field.name]
        if not fits(field.type, value, bounds):
            raise ImpossibleOption(f"{field.name} is {value!r}, expected {expected}")
        checked[field.name] = _converted(field.type, value)
    return kind(**checked)


def parted(annotation: Any) -> tuple[Any, tuple[Mark, ...]]:
    """A type and what narrows it."""
    if get_origin(annotation) is Annotated:
        kind, *marks = get_args(annotation)
        return kind, tuple(marks)
    return annotation, ()


def fits(annotation: Any, value: Any, bounds: Bounds) -> bool:
    kind, marks = parted(annotation)
    if get_origin(kind) is Literal:
        return value in get_args(kind) and not isinstance(value, bool)  # `off` without quotes is false in YAML
    if get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(fits(get_args(kind)[0], item, bounds) for item in value)

    right_kind = _is_number(value) if kind is float else type(value) is kind
    return right_kind and all(mark.allows(value, bounds) for mark in marks)


def words(annotation: Any, bounds: Bounds) -> str:
    """What `fits`, for a message."""
    kind, marks = parted(annotation)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list, each {words(get_args(kind)[0], bounds)}"
    return NAMES[kind] + "".join(mark.words(bounds) for mark in marks)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _converted(annotation: Any, value: Any) -> Any:
    """1 and 1.0 are one number, and a list in YAML cannot change in a run."""
    kind, _ = parted(annotation)
    if kind is float:
        return float(value)
    return tuple(value) if get_origin(kind) is tuple else value
