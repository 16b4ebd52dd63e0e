"""Hypothesis strategies for parameters and runs, shared by all tests."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from seal.config import Params, Run
from seal.methods import METHODS

SMOKE: dict[str, Any] = yaml.safe_load(Path("params/smoke.yaml").read_text(encoding="utf-8"))


def params_with(**sections: Any) -> Params:
    """The smoke parameters with some values changed: a dict updates a section, anything else replaces it."""
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in SMOKE.items()}
    for key, value in sections.items():
        merged[key] = merged[key] | value if isinstance(value, dict) else value
    return Params.model_validate(merged)


def run_with(method: str, seed: int = 0, **changes: Any) -> Run:
    """The run of an arm with this method, and values of `training` and `generations` changed."""
    return params_with(arms={"arm": {"method": method} | changes}).run("arm", seed)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Any method with any schedule that params.yaml could hold, small."""
    epochs = draw(st.integers(1, 12))
    return run_with(
        draw(st.sampled_from(list(METHODS))),
        seed=draw(st.integers(0, 3)),
        num_generations=draw(st.integers(1, 5)),
        epochs_per_generation=epochs,
        ascent_epochs=draw(st.integers(0, epochs)),
        warmup_epochs=draw(st.integers(0, epochs - 1)),
        first_ascent_generation=draw(st.integers(1, 4)),
        schedule=draw(st.sampled_from(["per_generation", "one_cosine"])),
        learning_rate=draw(st.floats(1e-4, 1.0)),
        ascent_lr_scale=draw(st.floats(0, 2)),
        ascent_weight_decay=draw(st.sampled_from(["adjusted", "off", "grow"])),
        reverse_fc=draw(st.sampled_from(["ascends", "descends"])),
    )
