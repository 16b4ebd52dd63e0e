"""What a fault in the middle leaves: a full disk, a kill, a word of the user's that comes at a bad moment."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import _yaml, dumps_yaml

from seal.cluster.pipeline import Pipeline, locked_entries, take_over
from seal.cluster.settings import configure
from seal.cluster.submission import Submission
from seal.cluster.submit import prepare
from seal.errors import UserError

ENTRIES = {stage: {"cmd": f"python {stage}.py", "outs": [{"path": stage, "md5": "0" * 32}]} for stage in "abc"}


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project without stages, to be in."""
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = true\n")
    return tmp_path


def test_a_lock_file_is_written_as_dvc_writes_it(repo: Path) -> None:
    take_over(ENTRIES, ["c", "a"])
    assert [*locked_entries()] == ["b", "c", "a"]
    take_over({"b": ENTRIES["a"]}, ["a", "b", "c"])
    assert locked_entries() == {"a": ENTRIES["a"], "b": ENTRIES["a"], "c": ENTRIES["c"]}
    assert Path("dvc.lock").read_text() == dumps_yaml({"schema": "2.0", "stages": locked_entries()})


@pytest.mark.parametrize(
    "fault",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), DvcException("no"), SystemExit(143)],
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
    assert not [*repo.glob(".dvc.lock*")]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("url", "../../store", "{project}/../store"), ("url", "store", "{project}/.dvc/store"),
        ("url", "/mnt/store", "/mnt/store"), ("url", "s3://bucket/store", "s3://bucket/store"),
        ("url", "remote://other/store", "remote://other/store"), ("url", "~/store", "~/store"),
        ("keyfile", "../key", "{project}/key"), ("credentialpath", "aws", "{project}/.dvc/aws"),
    ],
)  # fmt: skip
def test_a_remote_is_the_projects_own_in_every_copy_of_the_snapshot(
    repo: Path, key: str, value: str, expected: str
) -> None:
    """Of which a workspace is one, a folder deeper."""
    url = {"keyfile": "ssh://host/store", "credentialpath": "s3://bucket/store"}.get(key, value)
    settings = {"url": url, key: value}
    lines = "".join(f"    {name} = {text}\n" for name, text in settings.items())
    Path(".dvc/config").write_text(f"[core]\n    no_scm = true\n['remote \"store\"']\n{lines}")

    snapshot, work = repo / "cluster/abc/snapshot", repo / "cluster/abc/work/base@0.1"
    snapshot.mkdir(parents=True)
    configure(snapshot)
    shutil.copytree(snapshot, work)
    expected_path = os.path.normpath(Path(expected.format(project=repo)).expanduser())
    for copy in (snapshot, work):
        with Repo(copy) as copied:
            assert os.path.normpath(copied.config["remote"]["store"][key]) == expected_path


@pytest.fixture
def submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submission:
    """Of a project to be in, with the folders that a snapshot makes."""
    monkeypatch.chdir(tmp_path)
    for folder in ("abc/log", "abc/marks", "abc/work", "abc/snapshot", "lock"):
        Path("cluster", folder).mkdir(parents=True)
    return Submission(tmp_path / "cluster/abc")


@pytest.mark.parametrize("before", [False, True])
def test_a_cache_without_room_is_refused_once_what_jobs_have_made_is_in_the_lock_file(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    """Else it would fall to the `dvc gc -w` that the line advises."""
    stages = {"base@0": [], "train@seal-0": ["base@0"]}
    pipeline = Pipeline(stages, frozenset(stages), [], Path("cache"))
    if before:
        submission.begin({"order": [], "needs": stages}, stages)
    submission.write_mark("base@0", state="done", entry=ENTRIES["a"])

    taken_over: list[str] = []
    monkeypatch.setattr("seal.cluster.submit.read_pipeline", lambda: pipeline)
    monkeypatch.setattr("seal.cluster.submit.take_snapshot", lambda _: submission)
    monkeypatch.setattr("seal.cluster.submit.take_over_done", lambda *_: taken_over.append("base@0"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(UserError, match="found 0 MB free"):
        prepare([], "local", 1, "")
    assert taken_over == ["base@0"] * before
