"""The list of faults stays true of the code: what each one changes stands in its file. Here none of them is run."""

import re

import pytest
import typer.main

from seal.cli import app
from tests.campaign.commands import COMMANDS
from tests.campaign.families import FAMILIES
from tests.campaign.kills import KINDS
from tests.campaign.undone import Undone, all_undone
from tests.mutants import ROOT, Mutant, mutants

PROMISES = (ROOT / "docs/promises.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.fault)
def test_what_a_mutant_changes_is_there(mutant: Mutant) -> None:
    assert mutant.text in (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.text != mutant.instead
    assert (ROOT / "tests" / mutant.tests.split()[0]).is_file()


@pytest.mark.parametrize("undone", all_undone(), ids=lambda undone: undone.mend)
def test_a_mend_that_the_campaigns_undo_is_there(undone: Undone) -> None:
    assert undone.text in (ROOT / undone.file).read_text(encoding="utf-8")
    assert undone.text != undone.instead
    assert [undone.campaign in FAMILIES, undone.kill in KINDS, bool(undone.test)].count(True) == 1


def test_the_promises_count_the_mends_and_name_tests_that_are_there() -> None:
    assert f"each of the {len(all_undone())} mends listed in `tests/campaign/undone.yaml`" in PROMISES
    named = re.findall(r"`(tests/[^`]*)`", PROMISES)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_promises_name_the_commands_that_the_campaign_of_kills_does_not_meet() -> None:
    modules = {command.words[0].rpartition(".")[2] for command in COMMANDS.values()}
    met = {command.words[1] for command in COMMANDS.values() if command.words[0] == "seal.cli"}
    (named,) = re.findall(r"Not met: (.*?)\.\n", PROMISES, re.DOTALL)
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {*re.findall(r"`(?:seal )?([a-z]+)`", named)} == commands.keys() - met - modules
    assert f" {len(COMMANDS)} of them" in PROMISES


def test_every_kind_of_fault_has_a_mend_that_is_undone() -> None:
    assert {undone.kind for undone in all_undone()} == set(range(1, 21))
