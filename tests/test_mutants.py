"""The list of faults stays true of the code: what each one changes stands in its file. Here none of them is run."""

import pytest

from tests.mutants import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.fault)
def test_what_a_mutant_changes_is_there(mutant: Mutant) -> None:
    assert mutant.text in (ROOT / mutant.file).read_text(encoding="utf-8")
    assert mutant.text != mutant.instead
    assert (ROOT / "tests" / mutant.tests.split()[0]).is_file()
