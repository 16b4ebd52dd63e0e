"""A method's numbers as an arm gives them, checked by the annotations of the method's dataclass.

Types and ranges stand in one place, that dataclass; nothing here knows a method. config.py asks for each arm.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from seal.errors import short

T = TypeVar("T")
Bounds = Mapping[str, Any]  # the values of `training`, which a range may name


class ImpossibleOption(ValueError):
    """A number that is missing, or that its annotation does not allow; the message begins with its name."""


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


Generation = Annotated[int, Range(1)]
Epochs = Annotated[int, Range(0, most="epochs_per_generation")]  # of a generation
Scale = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
NAMES = {int: "an integer", float: "a number", bool: "true or false"}


def options_from(kind: type[T], values: Mapping[str, Any], bounds: Bounds) -> T:
    """The dataclass `kind` with these values, of which it may take a part.

    Raises ImpossibleOption for the first that is missing or not allowed, and TypeError for an annotation that says of
    no value whether it is allowed.
    """
    checked = {}
    for field in fields(kind):  # type: ignore[arg-type]
        annotated, _ = parted(field.type)
        if annotated not in NAMES and get_origin(annotated) is not Literal:
            raise TypeError(
                f"{kind.__name__}.{field.name} is annotated {short(str(field.type))}, expected int, float or bool, "
                "which a Range may narrow, or a Literal of texts"
            )

        expected = words(field.type, bounds)
        if field.name not in values:
            raise ImpossibleOption(f"{field.name}: missing key, expected {expected}")

        value = values[field.name]
        if not fits(field.type, value, bounds):
            raise ImpossibleOption(f"{field.name} is {short(repr(value))}, expected {expected}")
        checked[field.name] = _converted(field.type, value)
    return kind(**checked)


def parted(annotation: Any) -> tuple[Any, tuple[Range, ...]]:
    """A type and the ranges that narrow it."""
    if get_origin(annotation) is Annotated:
        kind, *ranges = get_args(annotation)
        return kind, tuple(ranges)
    return annotation, ()


def fits(annotation: Any, value: Any, bounds: Bounds) -> bool:
    kind, ranges = parted(annotation)
    if get_origin(kind) is Literal:
        return value in get_args(kind) and not isinstance(value, bool)  # `off` without quotes is false in YAML

    right_kind = _is_number(value) if kind is float else type(value) is kind
    return right_kind and all(allowed.allows(value, bounds) for allowed in ranges)


def words(annotation: Any, bounds: Bounds) -> str:
    """What `fits`, for a message."""
    kind, ranges = parted(annotation)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return NAMES[kind] + "".join(allowed.words(bounds) for allowed in ranges)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # an integer may be beyond


def _converted(annotation: Any, value: Any) -> Any:
    """1 and 1.0 are one number."""
    kind, _ = parted(annotation)
    return float(value) if kind is float else value
