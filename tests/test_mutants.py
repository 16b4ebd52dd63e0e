"""The list of faults stays true of the code: what each one changes stands in its file. Here none of them is run."""

import pytest

from tests.campaign.families import FAMILIES
from tests.campaign.kills import KINDS
from tests.campaign.undone import Undone, all_undone
from tests.mutants import ROOT, Mutant, mutants


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


def test_every_kind_of_fault_has_a_mend_that_is_undone() -> None:
    assert {undone.kind for undone in all_undone()} == set(range(1, 21))
