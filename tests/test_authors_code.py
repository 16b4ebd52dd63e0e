"""What the comparison with the authors' code asks of its reader; the comparison itself needs their clone."""

from pathlib import Path

import pytest

from benchmarks.authors_code import SETTINGS, our_run
from benchmarks.authors_trainer import URL, commit_of
from seal.errors import ConfigError


def test_without_a_clone_it_says_what_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"found no core.py of the authors, expected a clone: `git clone {URL}"):
        commit_of(tmp_path / "authors")


def test_a_copy_without_its_commit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in ("core.py", "models/model_utils.py"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=f"found no commit, expected a clone: `git clone {URL}"):
        commit_of(tmp_path)


def test_its_settings_are_the_papers_methods_with_each_decay_and_two_controls() -> None:
    runs = [our_run(setting) for setting in SETTINGS]
    assert [run.method for run in runs] == ["normal_long", "llf", *["seal"] * 5]
    assert [run.options.ascent_weight_decay for run in runs[2:]] == ["adjusted", "off", "grow", "off", "adjusted"]
    assert [run.generations.reset_momentum for run in runs] == [True] * 6 + [False]
