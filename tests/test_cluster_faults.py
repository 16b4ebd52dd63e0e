"""What a fault in the middle leaves: a full disk, a kill, a word of the user's that comes at a bad moment."""

import errno
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import _yaml, dumps_yaml
from filelock import FileLock

from seal.cluster.local import start
from seal.cluster.pipeline import Pipeline, locked_entries, take_over
from seal.cluster.settings import configure
from seal.cluster.snapshot import submission_of, take_snapshot
from seal.cluster.status import Row, rows_of, sums_of
from seal.cluster.submission import Submission
from seal.cluster.submit import Prepared, prepare
from seal.errors import UserError
from tests.waiting import wait_until

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


def test_a_snapshot_that_is_not_whole_leaves_nothing_behind(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where the disk is full, nor, with the next try, where it was killed."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        Path(name).write_text("{}")
    pipeline = Pipeline({}, frozenset(), [], Path("cache"))
    folder = submission_of(pipeline).folder
    gone = subprocess.Popen(["true"])
    gone.wait()
    killed = folder / f".snapshot.{platform.node()}-{gone.pid}.x"
    killed.mkdir(parents=True)
    copy = shutil.copy

    def full(source: Path, target: Path) -> None:
        if source.name == "params.yaml":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        copy(source, target)

    monkeypatch.setattr("seal.cluster.snapshot.shutil.copy", full)
    with pytest.raises(OSError, match=f"No space left on device: '{folder}/snapshot'"):
        take_snapshot(pipeline)
    assert {path.name for path in folder.iterdir()} == {"log", "marks", "work"}

    monkeypatch.undo()
    monkeypatch.chdir(repo)
    assert take_snapshot(pipeline).files.is_dir()
    assert {path.name for path in folder.iterdir()} == {"log", "marks", "work", "snapshot"}


def test_a_look_at_its_lock_does_not_keep_make_from_beginning(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`seal status` takes the lock for a moment, to see whether another has it."""
    monkeypatch.setattr("seal.cluster.local.makefile", lambda *_: "all:\n\ttouch made\n")
    with FileLock(submission.lock("make")):
        make = start(Prepared(submission, {}, {}), 1, [])
        waits = re.compile(rf"-> FLOCK .* {make.pid} ")
        wait_until(lambda: waits.search(Path("/proc/locks").read_text()) or make.poll() is not None)
    assert make.wait() == 0
    assert (submission.folder / "made").exists()


@pytest.mark.parametrize(
    ("taken_over", "words", "expected"),
    [
        ("abc", "error: not done: d", ""),
        (
            "ab",
            "error: cluster/abc: found code",
            "; 1 not in dvc.lock: with the code and .*; it ended in error: cluster/abc: found code",
        ),
        (
            "",
            "all of it: report/report.html",
            "; 3 not in dvc.lock: with the code and parameters of then `seal gather` takes them over",
        ),
        ("", "", "; 3 not in dvc.lock: with the code and parameters of then `seal gather` takes them over"),
    ],
)
def test_what_is_done_and_not_gathered_is_told(
    repo: Path, submission: Submission, taken_over: str, words: str, expected: str
) -> None:
    """As where make's `seal gather` has refused parameters that were edited meanwhile, and nobody saw it."""
    submission.begin({"needs": dict.fromkeys("abcd", ()), "how": "local"}, [])
    for stage, entry in ENTRIES.items():
        submission.write_mark(stage, state="done", entry=entry)
    submission.write_mark("d", state="failed")
    take_over({stage: ENTRIES[stage] for stage in taken_over}, taken_over)
    if words:
        submission.log("gather").write_text(f"0 stages taken over\n{words}\n")

    rows = [Row(stage, "done") for stage in "abc"] + [Row("d", "failed")]
    assert re.fullmatch(f"cluster/abc: 3 done, 1 failed{expected}", sums_of(submission, rows, gathering=False))
    assert "not in dvc.lock" not in sums_of(submission, rows, gathering=True)
    assert "not in dvc.lock" not in sums_of(submission, [*rows, Row("e", "waiting")], gathering=False)


def test_what_was_sent_and_never_begun_is_told_and_what_was_not_sent_is_counted(submission: Submission) -> None:
    """As after a kill of make, which had been sent a part."""
    facts = {"how": "local", "needs": {"a": (), "b": ("a",), "c": ()}, "sent": ["a", "b"], "entries": {}}
    submission.begin(facts, [])
    again = [Row("a", "stopped", words="never begun; submit again"), Row("b", "stopped", words="needs a")]
    assert rows_of(submission) == again
    assert sums_of(submission, again, gathering=False) == "cluster/abc: 2 stopped, 1 not sent"
    with FileLock(submission.lock("make")):
        assert rows_of(submission) == [Row("a", "waiting", words="for a place"), Row("b", "waiting", words="for a")]
