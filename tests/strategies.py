"""Hypothesis strategies for parameters and runs, shared by all tests. Methods and their options come from METHODS."""

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from hypothesis import strategies as st

from seal.config import Params
from seal.methods import METHODS, options_of
from seal.options import Range, parted
from seal.sections import Run
from seal.tiers import tier_text

SMOKE: dict[str, Any] = yaml.safe_load(tier_text("smoke", folder=Path(__file__).parents[1] / "params"))
SMOKE["runtime"]["threads"] = None  # the process's own: tests run beside one another
SMOKE["runtime"]["device"] = "cpu"  # also where there is a GPU, on which those marked gpu alone compute


def params_with(**sections: Any) -> Params:
    """The smoke parameters with some values changed: a dict updates a section, anything else replaces it."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in SMOKE.items()}
    for key, value in sections.items():
        merged[key] = merged[key] | value if isinstance(value, dict) else value
    return Params.model_validate(merged)


def numbers_of(method: str) -> dict[str, Any]:
    """The method's own numbers as its arm has them at smoke; none of a method without an arm of its name."""
    own = {field.name for field in fields(options_of(method))} if method in METHODS else set()
    return {name: value for name, value in SMOKE["arms"].get(method, {}).items() if name in own}


def run_with(method: str, seed: int = 0, **changes: Any) -> Run:
    """The run of an arm with this method, and some of its numbers, or values of the sections, changed."""
    return params_with(arms={"arm": {"method": method} | numbers_of(method) | changes}).run("arm", seed)


def option(annotation: Any, bounds: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that params.yaml could hold for an option of this annotation."""
    kind, ranges = parted(annotation)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if kind is bool:
        return st.booleans()

    limits = next(iter(ranges), Range(-2))
    most = limits.limit(bounds) if math.isfinite(limits.limit(bounds)) else limits.least + 3
    return st.integers(int(limits.least), int(most)) if kind is int else st.floats(limits.least, most)


@st.composite
def runs(draw: st.DrawFn, methods: Collection[str] = METHODS) -> Run:
    """Any of these methods with any numbers and any schedule that params.yaml could hold, small."""
    method = draw(st.sampled_from(list(methods)))
    epochs = draw(st.integers(1, 12))
    bounds = {"epochs_per_generation": epochs}
    numbers = {field.name: draw(option(field.type, bounds)) for field in fields(options_of(method))}
    return run_with(
        method,
        seed=draw(st.integers(0, 3)),
        num_generations=draw(st.integers(1, 5)),
        epochs_per_generation=epochs,
        warmup_epochs=draw(st.integers(0, epochs - 1)),
        schedule=draw(st.sampled_from(["per_generation", "one_cosine"])),
        learning_rate=draw(st.floats(1e-4, 1.0)),
        **numbers,
    )
