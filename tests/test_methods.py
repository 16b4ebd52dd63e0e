"""What each method forgets as an epoch begins, and the rules that it gives."""

from collections.abc import Iterable

import pytest
import torch
from hypothesis import given

from seal.clock import Clock, course_of
from seal.errors import ConfigError
from seal.methods import METHODS, descend, method_of
from seal.methods.paper import Ascent
from seal.models import ResNet
from seal.rules import PARTS, NetworkView, Rule, parts
from seal.sections import Model, Run
from seal.split import split_parameters
from seal.tiers import TIERS, tier_params
from tests.strategies import run_with, runs

SIDES = split_parameters(ResNet(Model(depth=18, width=2, stem="small", classifier_bias="zero"), 10), "layer3")
# Which parts climb in the ascent of the paper's methods.
CLIMBS = {
    "normal_long": set(), "llf": set(),
    "seal": {"early"}, "seal_freeze": {"early"}, "seal_reinit": {"early"}, "seal_reverse": {"late", "fc"},
}  # fmt: skip


def forgotten(run: Run, clock: Clock) -> list[str]:
    """Names of the values that the method would put in place, each of its parameter's shape."""
    now = {**SIDES.early, **SIDES.late}

    def drawn(names: Iterable[str]) -> dict[str, torch.Tensor]:
        return {name: torch.zeros_like(now[name]) for name in names}

    values = method_of(run).forget(clock, NetworkView(SIDES, drawn, initial=lambda: drawn(now)))
    assert all(value.shape == now[name].shape for name, value in values.items() if name in now)
    return list(values)


def test_the_parts_are_the_sides_with_the_linear_layer_apart() -> None:
    named = parts(SIDES)
    assert tuple(named) == PARTS
    assert [name for part in named.values() for name in part] == [*SIDES.early, *SIDES.late]
    assert list(named["fc"]) == ["fc.weight", "fc.bias"]


@given(runs())
def test_the_learning_rate_of_a_part_is_never_negative(run: Run) -> None:
    for clock in course_of(run).clocks():
        assert all(rule.lr_scale >= 0 for rule in method_of(run).rules(clock).values())


@given(runs())
def test_every_part_has_a_rule_which_is_a_function_of_the_clock(run: Run) -> None:
    for clock in course_of(run).clocks():
        assert tuple(method_of(run).rules(clock)) == PARTS
        assert method_of(run).rules(clock) == method_of(run).rules(clock)
        assert forgotten(run, clock) == forgotten(run, clock)


@given(runs(CLIMBS))
def test_a_part_that_descends_decays_as_all_do(run: Run) -> None:
    for clock in course_of(run).clocks():
        for rule in method_of(run).rules(clock).values():
            assert rule.frozen or rule.maximize or rule.weight_decay == run.training.weight_decay


@given(runs(CLIMBS))
def test_exactly_k_epochs_climb_in_each_generation_from_the_first_that_ascends(run: Run) -> None:
    ascending = dict.fromkeys(range(1, run.generations.num_generations + 1), 0)
    for clock in course_of(run).clocks():
        climbs = [rule for rule in method_of(run).rules(clock).values() if rule.maximize]
        assert all(rule.lr_scale == run.options.ascent_lr_scale for rule in climbs)
        ascending[clock.generation] += bool(climbs)

    first, k = (1, 0)
    if isinstance(run.options, Ascent):
        first, k = run.options.first_ascent_generation, run.options.ascent_epochs
    assert ascending == {generation: k if generation >= first else 0 for generation in ascending}


@given(runs(CLIMBS))
def test_only_the_forgetting_side_climbs(run: Run) -> None:
    forgetting = set(CLIMBS[run.method])
    if getattr(run.options, "reverse_fc", "ascends") == "descends":
        forgetting.discard("fc")
    for clock in course_of(run).clocks():
        climbs = {part for part, rule in method_of(run).rules(clock).items() if rule.maximize}
        assert climbs in (set(), forgetting)


@given(runs(CLIMBS))
def test_generation_1_is_plain_unless_ascent_is_asked_for_there(run: Run) -> None:
    if isinstance(run.options, Ascent) and run.options.first_ascent_generation == 1:
        return
    for clock in course_of(run).clocks():
        if clock.generation == 1:
            assert method_of(run).rules(clock) == dict.fromkeys(PARTS, descend(course_of(run)))
            assert forgotten(run, clock) == []


@pytest.mark.parametrize(("mode", "decay"), [("adjusted", 5e-4), ("off", 0.0), ("grow", -5e-4)])
def test_the_decay_of_an_ascending_side(mode: str, decay: float) -> None:
    run = run_with("seal", ascent_weight_decay=mode)
    assert method_of(run).rules(Clock(2, 0))["early"] == Rule(decay, lr_scale=0.01, maximize=True)


def test_llf_draws_late_weights_anew_once_a_generation_and_keeps_batchnorm_and_bias() -> None:
    run = run_with("llf", num_generations=3)
    drawn = {clock: forgotten(run, clock) for clock in course_of(run).clocks()}
    assert [clock for clock, names in drawn.items() if names] == [Clock(2, 0), Clock(3, 0)]
    names = drawn[Clock(2, 0)]
    assert "fc.weight" in names
    assert "layer3.0.downsample.0.weight" in names
    assert not [name for name in names if "bn" in name or name.endswith("bias") or name in SIDES.early]
    everything = run_with("llf", llf_reinitialises="all")
    assert forgotten(everything, Clock(2, 0)) == list(SIDES.late)


def test_llf_at_the_linear_layer_draws_its_weights_alone() -> None:
    sides = split_parameters(ResNet(Model(depth=18, width=2, stem="small", classifier_bias="zero"), 10), "fc")
    network = NetworkView(sides, drawn=lambda names: dict.fromkeys(names, torch.zeros(())), initial=dict)
    run = run_with("llf", layer_threshold="fc")
    assert list(method_of(run).forget(Clock(2, 0), network)) == ["fc.weight"]
    assert list(parts(sides)["late"]) == []


@pytest.mark.parametrize("which", ["weights", "all"])
def test_seal_reinit_draws_anew_what_llf_does_as_the_ascent_begins(which: str) -> None:
    run = run_with("seal_reinit", llf_reinitialises=which)
    assert forgotten(run, Clock(2, 0)) == forgotten(run_with("llf", llf_reinitialises=which), Clock(2, 0)) != []
    assert forgotten(run, Clock(2, 1)) == forgotten(run, Clock(1, 0)) == []
    assert forgotten(run_with("seal_reinit", ascent_epochs=0), Clock(2, 0)) == [], "no ascent begins"


@pytest.mark.parametrize("statistics", ["move", "hold"])
def test_seal_freeze_does_not_step_the_late_side_in_the_ascent(statistics: str) -> None:
    method = method_of(run_with("seal_freeze", frozen_statistics=statistics))
    for part in ("late", "fc"):
        assert method.rules(Clock(2, 0))[part].frozen
        assert method.rules(Clock(2, 0))[part].hold_statistics == (statistics == "hold")
        assert not method.rules(Clock(2, 1))[part].frozen


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"arms\.arm\.method is 'sael', expected one of normal_long, llf"):
        run_with("sael")


def test_every_method_has_an_arm_in_every_tier() -> None:
    for tier in TIERS:
        assert {arm.method for arm in tier_params(tier).arms.values()} == set(METHODS)
