"""A phase begins where a method's rules change, and all that follows from a phase follows from that."""

import itertools

from hypothesis import given

from seal.clock import Clock, course_of
from seal.methods import method_of
from seal.phases import Phases, may_share_generation_1, phase_of
from seal.rules import PARTS, Rule
from seal.sections import Run
from tests.strategies import params_with, run_with, runs


@given(runs())
def test_within_a_generation_a_phase_begins_exactly_where_the_rules_change(run: Run) -> None:
    phases, rules = Phases(course_of(run), method_of(run)), method_of(run).rules
    for before, after in itertools.pairwise(course_of(run).clocks()):
        if before.generation == after.generation:
            assert phases.begins(after) == (rules(before) != rules(after))
        elif rules(before) != rules(after):
            assert phases.begins(after)


@given(runs())
def test_an_epoch_ends_a_phase_where_the_next_one_begins_one_and_at_a_generations_end(run: Run) -> None:
    phases = Phases(course_of(run), method_of(run))
    for before, after in itertools.pairwise(course_of(run).clocks()):
        assert phases.ends_generation(before) == (before.generation != after.generation)
        assert phases.ends(before) == (phases.begins(after) or phases.ends_generation(before))


@given(runs())
def test_momentum_is_cleared_at_a_phases_edges_and_where_something_was_forgotten(run: Run) -> None:
    phases = Phases(course_of(run), method_of(run))
    for clock in list(course_of(run).clocks())[1:]:
        assert phases.clears_momentum(clock, forgot=True)
        restarts = clock.epoch == 0 and run.generations.schedule == "per_generation"
        assert phases.clears_momentum(clock, forgot=False) == (phases.begins(clock) or restarts)
    assert not phases.clears_momentum(Clock(1, 0), forgot=True), "there is none yet"


def test_a_phase_is_named_by_its_strongest_rule() -> None:
    down, up, still = Rule(0.1), Rule(0.1, maximize=True), Rule(0.0, frozen=True)
    plain = dict.fromkeys(PARTS, down)
    assert phase_of(plain) == "descent"
    assert phase_of(plain | {"late": still}) == "hold"
    assert phase_of(plain | {"early": up, "late": still}) == "ascent"


def test_generation_1_is_the_bases_where_rules_and_rates_are() -> None:
    base = course_of(params_with().run("normal", 0))

    def shares(method: str, **changes: object) -> bool:
        run = run_with(method, **changes)
        return Phases(course_of(run), method_of(run)).first_generation_is_that_of(base)

    assert shares("normal_long")
    assert shares("llf")
    assert shares("seal")
    assert not shares("seal", first_ascent_generation=1)
    assert shares("seal", first_ascent_generation=1, ascent_epochs=0)
    assert not shares("normal_long", schedule="one_cosine")
    assert not shares("normal_long", weight_decay=0.0)


def test_a_run_of_other_weights_does_not_share_generation_1() -> None:
    base = params_with().run("normal", 0)
    for checkpoint in ("last", "best"):
        run = run_with("normal_long", checkpoint=checkpoint)
        phases = Phases(course_of(run), method_of(run))
        assert may_share_generation_1(run, base, phases) == (checkpoint == base.generations.checkpoint)
