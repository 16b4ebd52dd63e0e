"""Rates of training in the four settings, as the calibration, the doctor and benchmarks/training.py take them."""

import json

import pytest
import torch

from seal.planning import speed
from seal.planning.setting import WAYS, Way
from seal.planning.speed import rates_in_turns, trainer_in, training_rate
from tests.strategies import params_with

CPU = torch.device("cpu")
TINY = params_with(model={"depth": 18, "width": 2, "stem": "small"})


def test_each_way_trains_in_its_precision_and_layout() -> None:
    assert len(set(WAYS)) == 4
    for way in WAYS:
        trainer = trainer_in(TINY, way, CPU)
        x, _ = next(iter(trainer.data.train.clean()))
        assert x.is_contiguous(memory_format=torch.channels_last) == way.channels_last
        assert trainer.objective.precision == way.precision
        assert training_rate(trainer, at_least_seconds=0.0) > 0


def test_turns_meet_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def rate(trainer: str, at_least_seconds: float) -> float:
        told.append((trainer, at_least_seconds))
        return float(len(told))

    monkeypatch.setattr(speed, "training_rate", rate)
    one, other = Way("float32", False), Way("float32", True)
    rates = rates_in_turns({one: "one", other: "other"}, seconds=8.0, rounds=2)  # type: ignore[dict-item]
    assert told == [("one", 2.0), ("other", 2.0)] * 2
    assert rates == {one: [1, 3], other: [2, 4]}


def test_the_doctors_process_says_rates_in_the_order_of_ways(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "load_params", lambda: TINY)
    monkeypatch.setattr(speed, "DOCTORS_SECONDS", 0.0)
    monkeypatch.setattr(speed, "rates_in_turns", lambda *_, **__: {way: [number] for number, way in enumerate(WAYS)})
    speed.main()
    told = json.loads(capsys.readouterr().out)
    assert told == {"rates": [0, 1, 2, 3], "threads": torch.get_num_threads()}
