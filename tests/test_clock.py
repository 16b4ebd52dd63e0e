"""Places and learning rates follow from the clock alone."""

import math

from hypothesis import given

from seal.clock import course_of, global_epoch, learning_rate
from seal.sections import Run
from tests.strategies import run_with, runs


@given(runs())
def test_the_learning_rate_is_positive_and_never_above_the_initial_one(run: Run) -> None:
    for clock in course_of(run).clocks():
        assert 0 < learning_rate(run, clock) <= run.training.learning_rate


@given(runs())
def test_global_epoch_counts_every_epoch_once(run: Run) -> None:
    epochs = [global_epoch(clock, run.training.epochs_per_generation) for clock in course_of(run).clocks()]
    assert epochs == list(range(run.generations.num_generations * run.training.epochs_per_generation))


@given(runs())
def test_resuming_after_any_epoch_goes_through_the_rest(run: Run) -> None:
    every = list(course_of(run).clocks())
    for position, clock in enumerate(every):
        assert list(course_of(run).clocks(after=clock)) == every[position + 1 :]


def test_the_cosine_restarts_in_each_generation_or_is_one() -> None:
    restarting = run_with("normal_long", num_generations=2)
    rates = [learning_rate(restarting, clock) for clock in course_of(restarting).clocks()]
    expected = [0.005 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates == expected * 2
    single = run_with("normal_long", num_generations=2, schedule="one_cosine")
    rates = [learning_rate(single, clock) for clock in course_of(single).clocks()]
    assert rates == [0.005 * (1 + math.cos(math.pi * epoch / 8)) for epoch in range(8)]


def test_the_warm_up_is_linear_and_the_cosine_takes_the_rest() -> None:
    run = run_with("normal_long", num_generations=1, warmup_epochs=2)
    rates = [learning_rate(run, clock) for clock in course_of(run).clocks()]
    assert rates == [0.005, 0.01, 0.01, 0.005 * (1 + math.cos(math.pi / 2))]
