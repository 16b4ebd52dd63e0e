"""Jobs by themselves: what one that fails leaves and says, which of Slurm's are relied on, and how they are ended."""

import errno
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from seal.cluster.commands import app
from seal.cluster.job import main as job_main
from seal.cluster.queue import Queued, prefix
from seal.cluster.slurm import jobs_to_rely_on
from seal.cluster.status import row_of_begun
from seal.cluster.submission import CLUSTER, MARKER, Submission
from seal.cluster.submitting import Handing, submit_to_slurm
from seal.cluster.workspace import repro
from seal.errors import UserError


@pytest.fixture
def job(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of a job of a submission."""
    submission.begin({"cache": "cache", "needs": {}, "entries": {}}, [])
    monkeypatch.setenv(MARKER, str(submission.folder))
    monkeypatch.setattr("seal.cluster.job.gpu_names", list)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


EVALUATIONS = ["knn@seal-0", "transfer@seal-0-digits", "hessian@seal-0"]


def run(stages: list[str], *options: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        job_main([*stages, "--threads", "1", *options])
    return ended.value.code


@pytest.mark.usefixtures("job")
def test_a_full_disk_is_a_line_of_each_stage_and_ends_no_other(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As shutil says it of a tree: of many files, and without an errno."""
    copytree = shutil.copytree

    def full(source: Path, target: Path, **options: object) -> None:
        def refused(source: str, target: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device", source, None, target)

        if not target.name.startswith("transfer"):
            copytree(source, target, dirs_exist_ok=True, copy_function=refused)

    for name in ("a.py", "b.py"):
        (submission.files / name).touch()
    monkeypatch.setattr("seal.cluster.workspace.shutil.copytree", full)
    monkeypatch.setattr("seal.cluster.job.repro", lambda *_: 0)
    monkeypatch.setattr("seal.cluster.job.locked_entries", lambda _: {"transfer@seal-0-digits": {}})
    assert run(EVALUATIONS, "--label", "evaluations@seal-0") == 1

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith(f"error: {submission.work}/")
        assert line.endswith(".py: No space left on device; make room and run the same command again")
    assert [submission.mark(stage)["state"] for stage in EVALUATIONS] == ["failed", "done", "failed"]


@pytest.mark.usefixtures("job")
def test_a_failed_stage_keeps_its_own_last_line_and_the_log_that_it_is_in(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = submission.log("evaluations@seal-0")

    def fails(_: Submission, stage: str, *others: object) -> int:
        with log.open("a") as lines:
            lines.write(f"error: {stage} has no pack\nERROR: failed to reproduce '{stage}'\n")
        return 255

    monkeypatch.setattr("seal.cluster.job.repro", fails)
    assert run(EVALUATIONS, "--label", "evaluations@seal-0") == 255
    for stage in EVALUATIONS:
        row = row_of_begun(submission, stage, submission.mark(stage), at_work=False)
        assert row.words == f"error: {stage} has no pack (cluster/abc/log/evaluations@seal-0.log)"


@pytest.mark.usefixtures("job")
def test_an_error_without_a_line_of_its_own_is_told_by_the_end_of_its_traceback(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python prints it when the mark is written already."""

    def no_process(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("seal.cluster.job.repro", no_process)
    with pytest.raises(BlockingIOError):
        run(["knn@seal-0"])

    submission.log("knn@seal-0").write_text("knn@seal-0 begins on n1\nBlockingIOError: [Errno 11] Resource\n")
    row = row_of_begun(submission, "knn@seal-0", submission.mark("knn@seal-0"), at_work=False)
    assert row.state == "failed"
    assert row.words.startswith("BlockingIOError: [Errno 11] Resource (")


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize("error", [SystemExit(143), KeyboardInterrupt()])
def test_a_job_that_is_told_to_end_begins_no_other_stage(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def told(*_: object) -> int:
        raise error

    monkeypatch.setattr("seal.cluster.job.repro", told)
    assert run(EVALUATIONS) in (130, 143)
    assert [submission.mark(stage) is None for stage in EVALUATIONS] == [False, True, True]
    assert not [*submission.work.iterdir()]


def test_results_that_cannot_be_handed_over_are_a_failure(
    job: None, submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a DVC that ended well: a full disk below timings/."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "timings/knn@seal-0.csv")

    monkeypatch.setattr("seal.cluster.job.repro", lambda *_: 0)
    monkeypatch.setattr("seal.cluster.job.hand_over_timings", full)
    assert run(["knn@seal-0"]) == 1
    assert submission.mark("knn@seal-0")["state"] == "failed"


def test_a_mark_of_an_older_job_names_the_log_of_its_stage(submission: Submission) -> None:
    submission.log("knn@seal-0").write_text("error: no room\n")
    row = row_of_begun(submission, "knn@seal-0", {"state": "failed", "node": "n1", "since": 0.0}, at_work=False)
    assert row.words == "error: no room (cluster/abc/log/knn@seal-0.log)"


@pytest.mark.parametrize(
    "options",
    [
        ["--job-name=mine"], ["-J", "mine"], ["-Jmine"], ["--comment", "mine"], ["--output=/dev/null"], ["-o", "log"],
        ["--chdir=/tmp"], ["-D/tmp"], ["--partition=main", "--dependency=singleton"], ["-dafter:7"],
        ["--signal=USR2@300"], ["--no-requeue"],
    ],
    ids=str,
)  # fmt: skip
def test_an_option_that_would_replace_ours_is_refused_before_slurm_is_asked(
    options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"^found --sbatch=-.*, expected none of --job-name, .*; leave it out$"):
        submit_to_slurm([], None, "", Handing(options, True, 20, "", False))


def test_any_other_option_goes_to_sbatch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    options = ["--partition=main", "--gres=gpu:1", "--open-mode=append", "-t5", "-p", "main", "--error=log", "-c4"]
    with pytest.raises(UserError, match=r"^found no squeue on the PATH"):
        submit_to_slurm([], None, "", Handing(options, True, 20, "", False))


NEEDS = {"base@0": [], "train@seal-0": ["base@0"], "knn@seal-0": ["train@seal-0"], "train@llf-0": ["base@0"]}


@pytest.mark.parametrize(
    ("states", "relied_on"),
    [
        (["RUNNING", "PENDING", "PENDING", "PENDING"], "0123"), (["COMPLETING", "PENDING", "PENDING", "PENDING"], ""),
        (["RUNNING", "COMPLETING", "PENDING", "RUNNING"], "03"), (["", "RUNNING", "PENDING", "PENDING"], "12"),
        (["", "", "RUNNING", "SUSPENDED"], "23"), (["RUNNING", "PENDING", "COMPLETING", "CONFIGURING"], "013"),
    ],
    ids=str,
)  # fmt: skip
def test_neither_a_job_that_is_ending_nor_one_that_waits_for_it_stands_for_its_stage(
    states: list[str], relied_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As just after `scancel`; what is at work goes on whatever has become of the job before it."""
    jobs = {}
    for number, (stage, state) in enumerate(zip(NEEDS, states, strict=True)):
        if state:
            jobs[stage] = Queued(str(number), stage, "abc", (stage,), state, "")
    jobs["transfer@llf-0"] = Queued("7", "transfer@llf-0", "abc", ("transfer@llf-0",), "RUNNING", "")  # not sent now
    monkeypatch.setattr("seal.cluster.slurm.jobs_by_stage", lambda digest: dict(reversed(jobs.items())))
    assert {*jobs_to_rely_on("abc", NEEDS).values()} == {*relied_on, "7"}


def slurm_commands(folder: Path, **lines: str) -> str:
    """A PATH of stand-ins for these alone."""
    for name, line in lines.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("how", "commands", "words", "status"),
    [
        ("local", {}, "0 jobs and 2 processes ended; submitting again goes on\n", 0),
        ("slurm", {}, "0 jobs and 2 processes ended; submitting again goes on\n", 1),
        ("slurm", {"squeue": "echo no controller >&2; exit 1"}, "0 jobs and 2 processes ended; .* goes on\n", 1),
        ("slurm", {"squeue": "echo '7|RUNNING|None|{prefix}base@0|abc base@0'"}, "0 jobs and 2 processes ended;", 1),
        (
            "slurm",
            {"squeue": "echo '7|RUNNING|None|{prefix}base@0|abc base@0'; echo '8|RUNNING|None|other|'", "scancel": ""},
            "1 jobs and 2 processes ended;", 0,
        ),
    ],
    ids=["local", "no Slurm", "silent Slurm", "no scancel", "both"],
)  # fmt: skip
def test_processes_are_ended_whatever_slurm_says(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, how: str, commands: dict[str, str], words: str, status: int
) -> None:
    submission.begin({"how": how}, [])
    lines = {name: line.replace("{prefix}", prefix()) for name, line in commands.items()}
    monkeypatch.setenv("PATH", slurm_commands(submission.project, **lines))
    monkeypatch.setattr("seal.cluster.processes.end_all", lambda: 2)
    done = CliRunner().invoke(app, ["cancel"])
    assert re.match(words, done.output)
    assert bool(done.exit_code) == bool(status)


def test_cancelling_beside_a_submit_says_that_it_goes_on(
    submission: Submission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seal.cluster.processes.end_all", lambda: 0)
    words = "a `seal submit` is under way here"
    assert words not in CliRunner().invoke(app, ["cancel"]).output
    with FileLock(CLUSTER / "submit.lock"):
        assert words in CliRunner().invoke(app, ["cancel"]).output
    shutil.rmtree(CLUSTER)
    assert words not in CliRunner().invoke(app, ["cancel"]).output
    assert not CLUSTER.exists()


@pytest.mark.parametrize("gpu", ["1", "GPU-5", None])
def test_a_gpu_is_counted_as_nvidia_smi_counts_it(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, gpu: str | None
) -> None:
    """Where a machine's GPUs differ CUDA counts the fastest first."""
    variables: dict[str, str] = {}

    def noted(*_: object, env: dict[str, str], **__: object) -> SimpleNamespace:
        variables.update(env)
        return SimpleNamespace(returncode=0)

    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr("seal.cluster.workspace.subprocess.run", noted)
    assert repro(submission, "base@0", submission.work, 1, gpu, "") == 0
    order = variables.get("CUDA_DEVICE_ORDER")
    assert (variables.get("CUDA_VISIBLE_DEVICES"), order) == (gpu, "PCI_BUS_ID" if gpu else None)
