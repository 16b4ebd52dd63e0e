"""What a fault in the middle leaves: a full disk, a kill, a word of Slurm's or the user's that comes at a bad moment."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from dvc.exceptions import DvcException
from dvc.utils.serialize import _yaml, dumps_yaml

from seal.cluster.pipeline import locked_entries, take_over
from seal.errors import UserError

ENTRIES = {stage: {"cmd": f"python {stage}.py", "outs": [{"path": stage, "md5": "0" * 32}]} for stage in "abc"}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A DVC project without stages, to be in."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n")
    yield tmp_path


def test_a_lock_file_is_written_as_dvc_writes_it(repo: Path) -> None:
    take_over(ENTRIES, ["c", "a"])
    assert [*locked_entries()] == ["b", "c", "a"]
    take_over({"b": ENTRIES["a"]}, ["a", "b", "c"])
    assert locked_entries() == {"a": ENTRIES["a"], "b": ENTRIES["a"], "c": ENTRIES["c"]}
    assert Path("dvc.lock").read_text() == dumps_yaml({"schema": "2.0", "stages": locked_entries()})


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), DvcException("no"), SystemExit(143)]
)
def test_a_lock_file_that_is_not_written_to_its_end_stays_as_it_was(
    repo: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    take_over(ENTRIES, "abc")
    before = Path("dvc.lock").read_bytes()

    def cut(data: object, stream: TextIO) -> None:
        stream.write("schema: '2.0'\nstages:\n  a:\n    cmd: python a.py\n")
        stream.flush()
        raise fault

    monkeypatch.setattr(_yaml, "_dump", cut)
    with pytest.raises((type(fault), UserError)):
        take_over({"d": ENTRIES["a"]}, "abcd")
    assert Path("dvc.lock").read_bytes() == before
    assert not [name for name in os.listdir() if name.startswith(".dvc.lock")]
