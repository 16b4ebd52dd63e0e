"""SA-GD: the chance that a step climbs, its coins, and what a step turns round."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seal.clock import Clock, course_of
from seal.methods import METHODS, method_of
from seal.steps import climbing_steps
from seal.trainer import Trainer
from tests.small import BATCHES, CPU, ends, small_data, small_run, trained


def losses(*values: float) -> list[dict[str, float]]:
    return [{"train_loss": value} for value in values]


def test_the_chance_of_a_climbing_step_is_the_formulas() -> None:
    run = small_run("sagd", most_climbing=1.0, learning_rate=0.05)
    toss = method_of(run).toss(Clock(1, 2), losses(2.0, 1.9))
    assert toss is not None
    heat = 15.0 * course_of(run).rate(Clock(1, 2)) * math.log(3)
    assert toss.chance == pytest.approx(1 - math.exp(-0.1 / heat))
    assert all(rule.maximize and rule.lr_scale == 1 for rule in toss.rules.values())


@pytest.mark.parametrize(("now", "chance"), [(1.9, 0.5), (2.0, 0.0)])
def test_at_a_rate_of_0_the_chance_is_the_formulas_limit(now: float, chance: float) -> None:
    run = small_run("sagd", most_climbing=0.5)
    for rate in (0.0, 1e-30):
        course = replace(course_of(run), rate=lambda clock, rate=rate: rate)
        toss = METHODS["sagd"](course, run.options).toss(Clock(1, 2), losses(2.0, now))
        assert toss is not None
        assert toss.chance == chance


@given(
    st.lists(st.floats(0, 10), max_size=5), st.floats(0, 1), st.sampled_from([1, 2]), st.floats(1e-6, 100),
)  # fmt: skip
def test_the_chance_is_never_above_its_cap_and_nothing_where_the_loss_stands_still(
    values: list[float], cap: float, offset: int, temperature: float
) -> None:
    run = small_run("sagd", most_climbing=cap, log_offset=offset, initial_temperature=temperature)
    toss = method_of(run).toss(Clock(2, 1), losses(*values))
    assert toss is not None
    assert 0 <= toss.chance <= cap
    still = method_of(run).toss(Clock(2, 1), losses(*values, 1.0, 1.0))
    assert still is not None
    assert still.chance == 0


@pytest.mark.parametrize("climbs_by", ["gradient", "update"])
def test_without_a_chance_annealing_is_normal_training(tmp_path: Path, climbs_by: str) -> None:
    run = small_run("sagd", most_climbing=0.0, climbs_by=climbs_by, schedule="one_cosine")
    plain = ends(tmp_path / "normal", small_run("normal_long", schedule="one_cosine"))
    assert ends(tmp_path / "sagd", run) == plain


def test_coins_depend_on_seed_and_clock_and_the_outcome_counts_them(tmp_path: Path) -> None:
    run = small_run("sagd", most_climbing=1.0, num_generations=3)
    trainer, _, state = trained(tmp_path, run)
    toss = trainer.method.toss(Clock(2, 1), state.rows[:4])
    coins = climbing_steps(trainer.course, toss, Clock(2, 1), 200)
    assert coins == climbing_steps(trainer.course, toss, Clock(2, 1), 200)
    assert coins != climbing_steps(trainer.course, toss, Clock(2, 2), 200)
    assert coins != climbing_steps(replace(trainer.course, seed=1), toss, Clock(2, 1), 200)

    climbed = []
    for clock in trainer.course.clocks():
        toss = trainer.method.toss(clock, state.rows[: 3 * (clock.generation - 1) + clock.epoch])
        climbed.append(sum(climbing_steps(trainer.course, toss, clock, BATCHES)))
    shares = [outcome["climbing_share"] for outcome in state.generations]
    assert shares == [sum(climbed[3 * g : 3 * g + 3]) / (3 * BATCHES) for g in range(3)]
    assert sum(shares) > 0


def test_a_step_that_turns_its_update_goes_back_where_one_that_turns_its_gradient_goes_on() -> None:
    """After steady steps down a slope: momentum hides one flip of the gradient, but not of the update."""
    moved = {}
    for climbs_by in ("gradient", "update"):
        run = small_run("sagd", climbs_by=climbs_by, weight_decay=0.0)
        trainer = Trainer(run, small_data(run), CPU)
        trainer.begin_epoch(Clock(1, 0))
        bias = trainer.model.fc.bias
        for climbs in (False, False, False, False, True):
            trainer._turn(climbs)
            before = bias.detach().clone()
            bias.grad = torch.ones_like(bias)
            trainer.optimizer.step()
        moved[climbs_by] = bias.detach() - before
    assert (moved["gradient"] < 0).all()
    assert (moved["update"] > 0).all()
