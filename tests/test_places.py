"""`seal plan --places`: list scheduling against closed forms, and what it must not do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal.errors import UserError
from seal.planning.places import places_of, schedule
from seal.planning.stages import needs_of_tier


def test_a_fork_of_unequal_branches() -> None:
    needs = {"base": [], "short": ["base"], "long": ["base"], "after": ["long"], "end": ["short", "after"]}
    seconds = {"base": 10.0, "short": 1.0, "long": 5.0, "after": 5.0, "end": 2.0}
    one, two = schedule(needs, seconds, 1), schedule(needs, seconds, 2)
    assert (one.makespan, one.critical_path, one.used) == (23.0, 22.0, 1.0)
    assert (two.makespan, two.critical_path) == (22.0, 22.0)
    assert two.used == pytest.approx(23 / 44)


def test_the_longest_way_goes_first() -> None:
    """Short stages first would end at 7."""
    needs = {"a": [], "b": [], "first": [], "second": ["first"]}
    assert schedule(needs, {"a": 2.0, "b": 2.0, "first": 2.0, "second": 3.0}, 2).makespan == 5.0


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=12), st.integers(1, 5), st.data())
def test_a_schedule_lies_within_grahams_bound(lengths: list[float], places: int, data: st.DataObject) -> None:
    seconds = {f"stage {index}": length for index, length in enumerate(lengths)}
    needs: dict[str, list[str]] = {}
    for stage in seconds:
        needs[stage] = data.draw(st.lists(st.sampled_from([*needs]), unique=True)) if needs else []

    planned = schedule(needs, seconds, places)
    least = max(planned.critical_path, sum(lengths) / places)
    assert least <= planned.makespan * (1 + 1e-9)
    assert planned.makespan <= (sum(lengths) + (places - 1) * planned.critical_path) / places * (1 + 1e-9)


def test_a_tier_is_scheduled_by_its_own_graph() -> None:
    needs = needs_of_tier("smoke")
    assert needs["transfer@seal-0-digits"] == ["pack@digits", "train@seal-0"]
    stages = [*needs]
    assert all(stages.index(name) < stages.index(stage) for stage, above in needs.items() for name in above)


@pytest.mark.parametrize("text", ["", "0", "1,,2", "1,x", "-1"])
def test_places_are_numbers(text: str) -> None:
    with pytest.raises(UserError, match=r"^found --places .*, expected numbers of GPUs or cores, as --places 1,8,64$"):
        places_of(text)
