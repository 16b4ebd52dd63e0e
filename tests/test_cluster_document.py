"""docs/cluster.md: the options it names exist; tests/test_cluster.py runs the commands for one machine."""

import re
import shlex

from typer.testing import CliRunner

from seal.cli import app
from seal.cluster.limits import MEMORY, SPARE, TWICE
from tests.documents import CLUSTER, cluster_commands


def test_every_command_that_is_named_has_its_options() -> None:
    named = re.findall(r"`(seal [a-z]+[^`]*)`", CLUSTER) + [shlex.join(words) for words in cluster_commands("Slurm")]
    assert len(named) > 10
    for line in named:
        _, command, *words = shlex.split(line)
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", shown), f"{line}: no {option}"


def test_limits_are_those_that_jobs_get() -> None:
    assert (TWICE, SPARE) == (2, 10 * 60)
    assert "`--time` is twice what `seal plan` says and ten minutes" in CLUSTER
    assert f"`--mem` is {MEMORY:g} times the largest peak" in CLUSTER
