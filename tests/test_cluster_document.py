"""docs/cluster.md: its numbers are the code's; tests/test_cluster.py runs the commands for one machine."""

from seal.cluster.limits import MEMORY, SPARE, TWICE
from tests.documents import CLUSTER


def test_limits_are_those_that_jobs_get() -> None:
    assert (TWICE, SPARE) == (2, 10 * 60)
    assert "`--time` is twice what `seal plan` says and ten minutes" in CLUSTER
    assert f"`--mem` is {MEMORY:g} times the largest peak" in CLUSTER
