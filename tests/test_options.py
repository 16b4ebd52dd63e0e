"""A method's numbers are checked by their annotations, whatever the method."""

import math
import sys
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal.errors import short
from seal.options import Epochs, ImpossibleOption, Range, Scale, Share, fits, options_from, words
from tests.strategies import option

BOUNDS = {"epochs_per_generation": 4}


@dataclass(frozen=True)
class Every:
    """An option of each kind."""

    flag: bool
    count: int
    rate: float
    k: Epochs
    scale: Scale
    share: Share
    mode: Literal["a", "b"]


GOOD: dict[str, Any] = {
    "flag": True, "count": -3, "rate": 2, "k": 4, "scale": 0.5, "share": 1.0, "mode": "a",
}  # fmt: skip


def test_values_become_the_dataclass_and_those_of_others_are_left_alone() -> None:
    options = options_from(Every, GOOD | {"learning_rate": 0.1}, BOUNDS)
    assert options == Every(True, -3, 2.0, 4, 0.5, 1.0, "a")
    assert type(options.rate) is float


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("flag", 1, "true or false"),
        ("count", 1.0, "an integer"),
        ("count", True, "an integer"),
        ("rate", math.nan, "a number"),
        ("rate", math.inf, "a number"),
        ("rate", -math.inf, "a number"),
        ("rate", True, "a number"),
        ("rate", 2 * int(sys.float_info.max), "a number"),
        ("scale", 10**400, "a number, at least 0"),
        ("share", -(10**400), "a number, at least 0 and at most 1"),
        ("k", 10**400, "an integer, at least 0 and at most epochs_per_generation = 4"),
        ("k", 5, "an integer, at least 0 and at most epochs_per_generation = 4"),
        ("k", -1, "an integer, at least 0 and at most epochs_per_generation = 4"),
        ("scale", -0.1, "a number, at least 0"),
        ("share", 1.01, "a number, at least 0 and at most 1"),
        ("mode", "c", "one of a, b"),
        ("mode", False, "one of a, b"),
        ("mode", None, "one of a, b"),
    ],
)
def test_a_value_that_does_not_fit_is_said_with_what_would(name: str, value: object, expected: str) -> None:
    with pytest.raises(ImpossibleOption) as caught:
        options_from(Every, GOOD | {name: value}, BOUNDS)
    assert str(caught.value) == f"{name} is {short(repr(value))}, expected {expected}"
    assert len(str(caught.value)) < 250


def test_the_largest_integer_that_is_a_float_is_one() -> None:
    assert options_from(Every, GOOD | {"rate": int(sys.float_info.max)}, BOUNDS).rate == sys.float_info.max


@pytest.mark.parametrize("name", GOOD)
def test_a_value_that_is_missing_is_said(name: str) -> None:
    with pytest.raises(ImpossibleOption, match=f"^{name}: missing key, expected "):
        options_from(Every, {key: value for key, value in GOOD.items() if key != name}, BOUNDS)


@pytest.mark.parametrize("annotation", [str, list[int], int | None, "int", Annotated[str, Range(0)], Any])
@pytest.mark.parametrize("values", [{}, {"rates": 1}])
def test_an_annotation_that_checks_nothing_is_said(annotation: Any, values: dict[str, Any]) -> None:
    kind = make_dataclass("Fading", [("rates", annotation)])
    with pytest.raises(TypeError, match=r"^Fading\.rates is annotated .*, expected int, float or bool, which a Range"):
        options_from(kind, values, BOUNDS)


@given(st.data())
def test_what_the_tests_draw_fits(data: st.DataObject) -> None:
    for annotation in (bool, int, float, Epochs, Scale, Share, Literal["a", "b"]):
        value = data.draw(option(annotation, BOUNDS))
        assert fits(annotation, value, BOUNDS), words(annotation, BOUNDS)


def test_a_range_without_a_limit_names_none() -> None:
    assert Range(1).words(BOUNDS) == ", at least 1"
