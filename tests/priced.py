"""Smoke's stages and what they cost, of a project that has nothing yet."""

from pathlib import Path

import pytest

from seal.config import Params
from seal.measure import NetworkSize, Work
from seal.planning.costs import work
from seal.tiers import tier_params

ROOT = Path(__file__).parents[1]
SIZE = NetworkSize(parameters=1000, features=500)


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    smoke = tier_params("smoke", folder=ROOT / "params")
    monkeypatch.chdir(tmp_path)  # without packs, timings and results
    return smoke.model_copy(update={"runtime": smoke.runtime.model_copy(update={"threads": None})})


def price(stage: str, params: Params) -> Work:
    return work(stage, params, SIZE)
