"""What each method does at a generation's start and in each epoch."""

import pytest
import torch
from hypothesis import given

from seal.clock import Clock, clocks, phase
from seal.config import ConfigError, Run
from seal.methods import METHODS, PARTS, Network, Rule, descend, method_of, parts
from seal.models import ResNet
from seal.sections import Model
from seal.split import split_parameters
from tests.strategies import run_with, runs

with torch.device("meta"):
    NETWORK = ResNet(Model(depth=18, width=8, stem="small"), 10)
SIDES = split_parameters(NETWORK, "layer3")
UP = {"seal": {"early"}, "seal_freeze": {"early"}, "seal_reinit": {"early"}, "seal_reverse": {"late", "fc"}}


def forgotten(run: Run, clock: Clock) -> list[str]:
    """Names of the values that the method would put in place."""
    return list(method_of(run).forget(clock, Network(SIDES, lambda names: dict.fromkeys(names, torch.zeros(())))))


def test_the_sides_are_the_split_with_the_linear_layer_apart() -> None:
    named = parts(SIDES)
    assert tuple(named) == PARTS
    assert [name for side in named.values() for name in side] == [*SIDES.early, *SIDES.late]
    assert list(named["fc"]) == ["fc.weight", "fc.bias"]


@given(runs())
def test_only_the_forgetting_side_ascends_and_only_in_an_ascent_phase(run: Run) -> None:
    forgetting = set(UP.get(run.method, set()))
    if run.generations.reverse_fc == "descends":
        forgetting.discard("fc")
    for clock in clocks(run):
        rules = method_of(run).rules(clock)
        ascending = {side for side, rule in rules.items() if rule.maximize}
        assert ascending == (forgetting if phase(run, clock) == "ascent" else set())
        for side in ascending:
            assert rules[side].lr_scale == run.generations.ascent_lr_scale
        for side in set(PARTS) - ascending:
            assert rules[side].frozen or rules[side].weight_decay == run.training.weight_decay


@given(runs())
def test_the_learning_rate_of_a_side_is_never_negative(run: Run) -> None:
    for clock in clocks(run):
        assert all(rule.lr_scale >= 0 for rule in method_of(run).rules(clock).values())


@given(runs())
def test_generation_1_is_plain_unless_ascent_is_asked_for_there(run: Run) -> None:
    if run.generations.first_ascent_generation == 1 and run.method in UP:
        return
    method = method_of(run)
    for clock in (clock for clock in clocks(run) if clock.generation == 1):
        assert method.rules(clock) == dict.fromkeys(PARTS, descend(run)) or run.method == "seal_reinit"
        assert {rule.maximize for rule in method.rules(clock).values()} == {False}
        if run.method != "seal_reinit" or run.generations.first_ascent_generation > 1:
            assert forgotten(run, clock) == []


@pytest.mark.parametrize(("mode", "decay"), [("adjusted", 5e-4), ("off", 0.0), ("grow", -5e-4)])
def test_the_decay_of_an_ascending_side(mode: str, decay: float) -> None:
    run = run_with("seal", ascent_weight_decay=mode)
    assert method_of(run).rules(Clock(2, 0))["early"] == Rule(decay, lr_scale=0.01, maximize=True)


def test_llf_draws_late_weights_anew_once_a_generation_and_keeps_batchnorm_and_bias() -> None:
    run = run_with("llf", num_generations=3)
    drawn = {clock: forgotten(run, clock) for clock in clocks(run)}
    assert [clock for clock, names in drawn.items() if names] == [Clock(2, 0), Clock(3, 0)]
    names = drawn[Clock(2, 0)]
    assert "fc.weight" in names
    assert "layer3.0.downsample.0.weight" in names
    assert not [name for name in names if "bn" in name or name.endswith("bias") or name in SIDES.early]
    everything = run_with("llf", llf_reinitialises="all")
    assert forgotten(everything, Clock(2, 0)) == list(SIDES.late)


def test_seal_reinit_draws_the_whole_late_side_anew_as_the_ascent_begins() -> None:
    run = run_with("seal_reinit", reinit_untrained=["fc.bias"])
    method = method_of(run)
    assert forgotten(run, Clock(2, 0)) == list(SIDES.late)
    assert forgotten(run, Clock(2, 1)) == forgotten(run, Clock(1, 0)) == []
    assert method.rules(Clock(2, 2))["fc"].untrained == ("fc.bias",)
    assert method.rules(Clock(1, 0))["fc"].untrained == ()


@pytest.mark.parametrize("statistics", ["move", "hold"])
def test_seal_freeze_does_not_step_the_late_side_in_the_ascent(statistics: str) -> None:
    method = method_of(run_with("seal_freeze", frozen_statistics=statistics))
    for side in ("late", "fc"):
        assert method.rules(Clock(2, 0))[side].frozen
        assert method.rules(Clock(2, 0))[side].hold_statistics == (statistics == "hold")
        assert not method.rules(Clock(2, 1))[side].frozen


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"arms\.arm\.method is 'sael', expected one of normal_long, llf"):
        method_of(run_with("sael"))


def test_every_method_has_an_arm_in_every_tier() -> None:
    from seal.config import load_params

    for tier in ("smoke", "mini", "paper"):
        assert {arm.method for arm in load_params(f"params/{tier}.yaml").arms.values()} == set(METHODS)
