"""`seal submit --local` on a project of a moment: what it leaves and refuses; and that DVC can use its run cache."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from filelock import FileLock

from seal.cluster.gather import machines_differ, sync
from seal.cluster.job import main as job_main
from seal.cluster.left import seconds_of_kind, time_left
from seal.cluster.limits import limits_of, peaks_mb
from seal.cluster.local import threads_at_once
from seal.cluster.pipeline import locked_entries, not_in_cache
from seal.cluster.queue import partition_minutes
from seal.cluster.sbatch import Sbatch
from seal.cluster.settings import cache_folder
from seal.cluster.slurm import send
from seal.cluster.status import Row
from seal.cluster.submission import MARKER, Submission
from seal.cluster.submit import Prepared, check_cache, check_project, prepare, prepared, threads_of_a_job
from seal.cluster.submitting import submit_locally
from seal.cluster.workspace import hand_over_timings, repro, workspace
from seal.data.listing import FOLDERS
from seal.errors import UserError
from seal.processor import usable_cores
from seal.record import RESULTS, read_json, write_csv
from seal.sections import NamedModel
from seal.stage import stage
from seal.timings import FIRST_TIMING_COLUMNS, TIMING_COLUMNS, read_timings
from seal.tracking.live import Tracker
from seal.tracking.sync import SyncOutcome
from tests.documents import cluster_commands
from tests.invented_records import write_record, write_timings
from tests.small_project import make_images, write_params
from tests.strategies import SMOKE, params_with, run_with
from tests.toy_project import ToyProject

pytestmark = pytest.mark.xdist_group("toy")  # one packed project

ROOT = Path(__file__).parents[1]


def definitions() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"])


@pytest.mark.parametrize("name", definitions())
def test_every_stage_can_use_the_run_cache(name: str) -> None:
    """DVC switches it off for a stage, without a word, where one output is not cached or persists."""
    definition = definitions()[name].get("do", definitions()[name])
    assert definition["cmd"]
    assert definition["deps"]
    assert not {"frozen", "always_changed", "wdir"} & definition.keys()
    outs = [*definition.get("outs", []), *definition.get("metrics", []), *definition.get("plots", [])]
    assert outs
    assert all(isinstance(out, str) for out in outs), "an output with options, as persist or cache: false"


@pytest.mark.parametrize("file", [".dvcignore", ".gitignore"])
def test_workspaces_of_jobs_are_ignored(file: str) -> None:
    assert "/cluster/" in (ROOT / file).read_text(encoding="utf-8").splitlines()


def test_two_files_use_dvcs_insides_and_none_is_long() -> None:
    for path in (ROOT / "seal/cluster").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 150, path
        assert not re.search(r"^ *(from|import) (dvc|networkx)\b", text, re.M) or path.name in (
            "pipeline.py",
            "settings.py",
        ), path


@pytest.mark.parametrize(
    ("places", "chosen", "cores", "threads", "remedy"),
    [
        (2, None, 2, 1, ""), (2, 2, 4, 2, ""), (3, None, 8, 2, ""),
        (2, 2, 2, 2, "set runtime.threads to 1"), (4, 3, 8, 3, "set runtime.threads to 2"),
        (3, None, 2, 1, "or run fewer at once"),
    ],
)  # fmt: skip
def test_more_threads_than_cores_are_warned_of(
    places: int, chosen: int | None, cores: int, threads: int, remedy: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("seal.cluster.local.usable_cores", lambda: cores)
    monkeypatch.setattr(
        "seal.cluster.submit.load_params", lambda: SimpleNamespace(runtime=SimpleNamespace(threads=None))
    )
    assert threads_at_once(chosen, places, []) == threads
    warning = capsys.readouterr().err
    assert remedy in warning
    assert bool(remedy) == warning.startswith(f"warning: {places} jobs of {threads} threads ")

    assert threads_at_once(chosen, places, ["0"]) == threads
    assert capsys.readouterr().err == ""


def test_what_a_folder_holds_is_looked_at_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()
    make_images(tmp_path)
    Path("dvc.yaml").touch()
    monkeypatch.setattr("seal.cluster.submit.prepare", lambda *_: read_json(FOLDERS)["mine"]["files"])

    def files_seen() -> object:
        with prepared([], "local", 1, "") as files:
            return files

    assert files_seen() == 32
    shutil.copy("images/cat/0.png", "images/cat/more.png")
    assert files_seen() == 33


@pytest.mark.slow
def test_a_submission_leaves_what_a_serial_run_leaves(tmp_path: Path) -> None:
    """From nothing, by the commands of docs/cluster.md for one machine; the project's own remote is not asked."""
    serial, project = ToyProject(tmp_path / "serial"), ToyProject(tmp_path / "a % project")
    serial.run("dvc", "repro")
    config = (project.folder / ".dvc/config").read_text().replace("[core]", "[core]\n    remote = bucket")
    bucket = "['remote \"bucket\"']\n    url = s3://seal/toy\n    endpointurl = http://127.0.0.1:9\n"  # nobody is there
    (project.folder / ".dvc/config").write_text(config + bucket)
    submit, status = cluster_commands("One machine")

    printed = project.seal(*submit[1:])
    assert f"6 stages, 2 at once, threads of each: {max(1, usable_cores() // 2)}" in printed
    assert "6 stages taken over, 0 not done" in printed
    assert printed.endswith("all of it: report/report.html; times: timings/times.html\n"), "as `make repro` ends"
    assert "train@llf-0" in (project.folder / "timings/times.html").read_text()
    project.assert_as_serial(serial)
    assert "Data and pipelines are up to date" in project.run("dvc", "status")
    assert len(list(project.folder.glob("timings/t*.csv"))) == 5
    assert project.seal(*status[1:]).count(" done ") == 6

    assert "no stage lacks a job" in project.seal(*submit[1:])
    project.assert_as_serial(serial)


def pretended_gpus(folder: Path, *gpus: str) -> str:
    """A PATH on which nvidia-smi names these."""
    folder.mkdir()
    lines = "".join(f"echo {gpu}, GPU-{gpu}\n" for gpu in gpus)
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}")
    (folder / "nvidia-smi").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.slow
def test_a_part_is_submitted_with_what_stands_above_it_and_shares_out_the_places_of_the_gpus(
    toy: ToyProject, tmp_path: Path
) -> None:
    path = pretended_gpus(tmp_path / "bin", "0", "1")
    refused = toy.submit("--gpus", "0,7", status=1, PATH=path)
    assert refused == "error: found --gpus 7, expected one of this machine's, which are 0, 1 by nvidia-smi\n"

    assert "3 stages, 2 at once" in toy.submit("train", "--gpus", "1", "--per-gpu", "2", PATH=path)
    assert toy.times("gpu=1").keys() == {"base@0", "train@llf-0", "train@seal-0"}
    assert not {"transfer@llf-0", "claims"} & toy.times("begin").keys()
    assert "train@llf-0" in toy.lock

    gathered = "; being gathered into dvc.lock and results/"
    assert gathered not in toy.seal("status")
    with FileLock(toy.submission.lock("make")):
        status = toy.seal("status")
    assert re.fullmatch(f"(\\S+ +done .*\n){{3}}cluster/.*: 3 done, 3 not sent{gathered}\n", status)

    assert toy.seal("gather") == "3 stages taken over, 0 not done\n", "of those that were sent"
    lacking = toy.seal("gather", "transfer@llf-0", status=1)
    assert lacking.endswith("error: not done: transfer@llf-0; `seal status` says why, and submitting again goes on\n")

    params = yaml.safe_load((toy.folder / "params.yaml").read_text())
    (toy.folder / "params.yaml").write_text(yaml.safe_dump(params | {"main_arms": ["llf"]}))
    refused = toy.seal("gather", "train@seal-0", "--digest", toy.submission.folder.name, status=1)
    assert "found code or parameters that have changed since" in refused, "not that there is no such stage any more"


def test_a_job_that_is_told_to_end_again_removes_its_workspace_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "work").mkdir()
    submission = Submission(tmp_path)
    monkeypatch.setattr(Submission, "entries_for", lambda self, stage: {})
    rmtree = shutil.rmtree

    def told_meanwhile(*arguments: object, **options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        rmtree(*arguments, **options)

    monkeypatch.setattr("seal.cluster.workspace.shutil.rmtree", told_meanwhile)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit("told"))
    try:
        with pytest.raises(SystemExit, match="told"), workspace(submission, "base@0", ""):
            pass
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list(submission.work.iterdir())


def test_a_stage_of_another_job_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "base@0")
    monkeypatch.setenv("SEAL_STAGE", "train@seal-0")
    expected = "^error: found base@0 to be run in the job of train@seal-0, expected it done before; submit again$"
    with pytest.raises(SystemExit, match=expected), stage("base@0"):
        pytest.fail("it was run")

    monkeypatch.setenv("SEAL_STAGE", "base@0")
    with stage("base@0"):
        pass


def test_a_jobs_training_writes_nothing_to_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite is never written from two machines."""
    assert Tracker(run_with("seal"), {}, []).enabled
    monkeypatch.setenv("SEAL_TRACK", "0")
    assert not Tracker(run_with("seal"), {}, []).enabled


def test_different_machines_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    submission = Submission(tmp_path / "cluster/abc")
    for name, cpu, gpu in (("base@0", "2 x Xeon", "H100"), ("train@seal-0", "8 x Xeon", "H100")):
        write_timings(Path("timings"), name, (cpu, "1"))
        submission.write_mark(name, gpus=[gpu])
    write_timings(Path("timings"), "train@llf-0")
    stages = ["base@0", "train@llf-0", "train@seal-0"]
    assert machines_differ(submission, stages) is None

    write_timings(Path("timings"), "base@0", ("2 x EPYC", "1"), ("2 x EPYC", "2"))
    submission.write_mark("train@seal-0", gpus=["A100"])
    assert machines_differ(submission, stages) == (
        "stages were made on EPYC with 2 threads, H100; Xeon with 1 thread, A100: "
        "their bits differ from those of a serial run on one"
    )


def test_gathering_names_what_the_view_leaves_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = [SyncOutcome("seal-0", "written"), SyncOutcome("llf-0", "BROKEN", "its norms differ")]
    monkeypatch.setattr("seal.tracking.whole.sync_all", lambda: outcomes)
    sync()
    assert capsys.readouterr().out == "llf-0: BROKEN: its norms differ\n"


def test_the_number_of_threads_is_never_left_to_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(runtime={"threads": None})
    assert threads_of_a_job(None, 4) == 4
    assert threads_of_a_job(3, 4) == 3
    write_params(runtime={"threads": 2})
    assert threads_of_a_job(None, 4) == 2
    with pytest.raises(UserError, match=r"found --threads 3 and runtime\.threads 2, expected one number"):
        threads_of_a_job(3, 4)


def test_bad_input_is_one_line(toy: ToyProject, tmp_path: Path) -> None:
    wrong = {
        ("--local", "0"): "found --local 0, expected --slurm, or a number of jobs at once, as --local 2",
        (): "found --local None, expected --slurm, or a number of jobs at once, as --local 2",
        ("--local", "2", "trian"): "found no stage trian, expected one of base, train, transfer, or as base@0",
        ("--local", "2", "--dry"): "found --dry, expected none of it with --local; leave it out",
        ("--local", "2", "--restarts", "0", "--group", "run"): (
            "found --group --restarts, expected none of it with --local; leave it out"
        ),
        ("--local", "2", "--per-gpu", "2"): (
            "found --per-gpu 2 without --gpus, expected the GPUs to share out, as --gpus 0,1"
        ),
        ("--slurm", "--wait", "--gpus", "0"): "found --gpus --wait, expected none of it with --slurm; leave it out",
        ("--local", "2", "--gpus", "0"): "found --gpus 0, expected one of this machine's, which are none by nvidia-smi",
    }
    path = pretended_gpus(tmp_path / "bin")
    for arguments, line in wrong.items():
        assert toy.seal("submit", *arguments, status=1, PATH=path) == f"error: {line}\n"
    assert "found no submission here" in toy.seal("status", status=1)
    assert "found no stage trian, expected one of base" in toy.seal("gather", "trian", status=1)
    assert toy.seal("submit", "--slurm", status=1, PATH="/nowhere").startswith("error: found no squeue on the PATH")


def test_while_make_is_at_work_nothing_is_submitted_and_what_was_stays(
    toy: ToyProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`seal status` asks it of the stages that make has not begun."""
    monkeypatch.chdir(toy.folder)
    ready = prepare([], "local", 2, "")
    assert not ready.submission.facts_path.exists(), "no job has been handed over"
    ready.submission.begin(ready.facts, ready.needs)
    with FileLock(ready.submission.lock("make")), pytest.raises(UserError, match="a make is at work here already"):
        prepare(["base"], "slurm", 0, "")
    assert ready.submission.facts == ready.facts


@pytest.mark.parametrize(
    ("state", "at_work", "stays"),
    [("failed", False, False), ("running", False, False), ("running", True, True), ("done", False, False)],
)
def test_what_a_stage_is_sent_after_is_forgotten(
    submission: Submission, state: str, at_work: bool, stays: bool
) -> None:
    """Else it would be failed or stopped, and what needs it too, while it waits; or done, by a base that is no more."""
    submission.write_mark("base@0", state=state)
    submission.write_mark("train@seal-0", state="failed")
    with FileLock(submission.lock("base@0")) if at_work else nullcontext():
        submission.begin({"sent": ["base@0"]}, ["base@0", "train@llf-0"])
    assert (submission.mark("base@0") is not None) == stays
    assert submission.mark("train@seal-0") == {"state": "failed"}, "it is not sent"


@pytest.mark.parametrize(("dry", "noted"), [(True, []), (False, [False, True, True])])
def test_slurms_jobs_find_their_submission_and_a_dry_one_notes_nothing(
    submission: Submission, monkeypatch: pytest.MonkeyPatch, dry: bool, noted: list[bool]
) -> None:
    """Whether it was noted as sbatch was called: to test only, for the stage, for gather."""
    seen: list[bool] = []
    monkeypatch.setattr("seal.cluster.slurm.jobs_by_stage", lambda digest: {})
    monkeypatch.setattr("seal.cluster.slurm.queued", list)
    monkeypatch.setattr("seal.cluster.slurm.partition_minutes", lambda options: math.inf)
    monkeypatch.setattr("seal.cluster.slurm.limits_of", lambda jobs, *_: dict.fromkeys(jobs, ()))
    for module in ("sbatch", "slurm"):
        monkeypatch.setattr(
            f"seal.cluster.{module}.slurm", lambda *_, **__: seen.append(submission.facts_path.exists()) or "7"
        )
    sbatch = Sbatch(submission, {"cache": "/cache"}, (), 20, "seal.sif", dry)
    assert send(sbatch, {"base@0": []}, [], grouped=True) == 1
    assert (seen, submission.facts_path.exists()) == (noted, not dry)


def told(signal_name: str) -> str:
    """A command whose job is sent a signal, until it is ended for it."""
    return f"trap 'exit 143' TERM; while :; do kill -{signal_name} $PPID; sleep 0.1; done"


TOLD_OF_ITS_LIMIT = told("USR1")


@pytest.mark.parametrize(
    ("command", "starts_before", "asks"),
    [
        (TOLD_OF_ITS_LIMIT, "", True), (TOLD_OF_ITS_LIMIT, "1", True),
        (TOLD_OF_ITS_LIMIT, "2", False), (TOLD_OF_ITS_LIMIT, "3", False),
        ("exit 143", "", False), (told("TERM"), "", False),
    ],
    ids=["first start", "second", "third", "fourth", "failed", "cancelled"],
)  # fmt: skip
def test_a_job_asks_for_another_start_as_often_as_restarts_says(
    submission: Submission,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    starts_before: str,
    asks: bool,
) -> None:
    """By a stand-in for scontrol, which refuses: else the job would wait for Slurm to end it."""
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\nexit 1\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    script = Sbatch(submission, {}, (), 2, "", False).script("base@0", ["sh", "-c", command])
    environment = os.environ | {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": starts_before}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)

    assert done.returncode > 128
    assert [path.read_text() for path in tmp_path.glob("asked")] == ["requeue 7\n"] * asks
    refused = "error: Slurm refused another start; submit again, or give it more --sbatch=--time=MINUTES\n"
    limit = "error: not done after 2 restarts; give it more --sbatch=--time=MINUTES\n"
    assert done.stderr.endswith(refused) == asks, done.stderr
    assert done.stderr.endswith(limit) == (command == TOLD_OF_ITS_LIMIT and not asks), done.stderr


def test_an_earlier_gathering_is_not_told_again(submission: Submission, monkeypatch: pytest.MonkeyPatch) -> None:
    submission.log("gather").write_text("6 stages taken over, 0 not done\n")
    ready = Prepared(submission, {"base@0": []}, {})
    monkeypatch.setattr("seal.cluster.local.subprocess.Popen", lambda *_, **__: SimpleNamespace(wait=lambda: 137))
    monkeypatch.setattr("seal.cluster.submitting.prepared", lambda *_: nullcontext(ready))
    monkeypatch.setattr("seal.cluster.submitting.threads_at_once", lambda *_: 1)
    with pytest.raises(UserError, match="make ended with status 137 before what was done was gathered; submit again"):
        submit_locally([], 2, None, "", [], None, wait=True)


@pytest.mark.slow
def test_a_damaged_snapshot_is_named_and_without_it_one_stage_goes_on_from_what_is_done(toy: ToyProject) -> None:
    toy.submit("base@0")
    (toy.submission.files / "toy.py").write_text("pass\n")
    expected = (
        r"error: cluster/\w+/snapshot: found other files than its name stands for; remove cluster/\w+ and submit.*\n"
    )
    assert re.fullmatch(expected, toy.submit(status=1))
    shutil.rmtree(toy.submission.folder)
    toy.submit("train@llf-0")
    assert toy.times("end")["base@0"] == toy.times("end")["train@llf-0"] == 1
    assert not {"train@seal-0", "claims"} & toy.times("begin").keys()


@pytest.mark.slow
def test_a_result_that_the_cache_has_lost_is_made_again(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.submit("train")
    monkeypatch.chdir(toy.folder)
    shutil.rmtree("results/llf-0")
    assert not_in_cache(["base@0", "train@llf-0"]) == []

    md5 = locked_entries()["train@llf-0"]["outs"][0]["md5"]
    for path in cache_folder().rglob(md5[2:]):
        path.unlink()
    both = ["train@llf-0", "train@seal-0"]  # whose toys are the same bytes
    assert not_in_cache(["base@0", *both]) == both

    submitted = toy.submit("train")
    assert f"found the results of {' '.join(both)} in DVC's cache no more; they are not done" in submitted
    ended = toy.times("end")
    assert ended["base@0"] == 1
    assert ended["train@llf-0"] + ended["train@seal-0"] > 2, "the later one may take what the other has just made"
    assert not_in_cache(["base@0", *both]) == []


def test_a_project_without_git_is_told_how_to_go_on(toy: ToyProject) -> None:
    (toy.folder / ".dvc/config").write_text("")
    assert "`dvc config --local core.no_scm true` tells DVC so" in toy.submit(status=1)


def test_a_folder_with_a_newline_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a\nproject"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"^found no dvc\.yaml here"):
        check_project()
    Path("dvc.yaml").touch()
    with pytest.raises(UserError, match="as the project's folder, expected no newline in it; rename it"):
        check_project()


def test_a_cache_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cluster").mkdir()
    check_cache(tmp_path / "cache")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=3e6))
    expected = "cache: found 3 MB free, expected 67 MB; make room, or once no job is at work `seal gather`, then `dvc"
    with pytest.raises(UserError, match=expected):
        check_cache(tmp_path / "cache")


LATER_COLUMNS = (*TIMING_COLUMNS, "energy_kj")
TODAY = "train@seal-0,2.00,,,9,,x86_64,2 x Xeon,1,python 3.11,2026-01-02,H100,captured"
BEFORE = "train@seal-0,1.00,,,9,,x86_64,2 x Xeon,1,python 3.11,2026-01-01"


@pytest.mark.parametrize(
    ("columns", "rows", "seconds", "gpus"),
    [
        ((), [], ["2.00"], ["H100"]),
        (FIRST_TIMING_COLUMNS, [BEFORE], ["1.00", "2.00"], ["", "H100"]),
        (FIRST_TIMING_COLUMNS, [BEFORE, TODAY], ["1.00", "2.00", "2.00"], ["", "H100", "H100"]),  # as jobs left them
        (TIMING_COLUMNS, [TODAY], ["2.00", "2.00"], ["H100", "H100"]),
        (LATER_COLUMNS, [f"{TODAY},7"], ["2.00", "2.00"], ["H100", "H100"]),
    ],
)
def test_a_jobs_timings_are_read_beside_those_of_any_version(
    tmp_path: Path, columns: tuple[str, ...], rows: list[str], seconds: list[str], gpus: list[str]
) -> None:
    (tmp_path / "work/timings").mkdir(parents=True)
    (tmp_path / "work/timings/train@seal-0.csv").write_text("\n".join([",".join(TIMING_COLUMNS), TODAY, ""]))
    target = tmp_path / "timings/train@seal-0.csv"
    if columns:
        target.parent.mkdir()
        target.write_text("\n".join([",".join(columns), *rows, ""]))

    hand_over_timings(tmp_path / "work", tmp_path)
    found = read_timings(target)
    assert [row["seconds"] for row in found] == seconds
    assert [row["gpu"] for row in found] == gpus
    assert list(found[0]) == list(columns if len(columns) > len(TIMING_COLUMNS) else TIMING_COLUMNS)


@pytest.mark.parametrize(
    ("options", "minutes", "partition_is_named"),
    [
        ([], 30, False), (["--partition=long"], 2880, True), (["-plong"], 2880, True), (["-p", "long"], 2880, True),
        (["--partition", "long", "--gres=gpu:1"], 2880, True), (["--partition=long,short"], 2880, True),
        (["-pshort,fast"], 30, True), (["--partition=long", "-p", "fast"], 5, True),
        (["--cpus-per-task=1", "--gres=gpu:1"], 30, False),
        (["--partition=unheard_of"], math.inf, True), (["-pendless,fast"], math.inf, True),
    ],
)  # fmt: skip
def test_a_limit_is_that_of_the_partition_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, options: list[str], minutes: float, partition_is_named: bool
) -> None:
    told = "short*|30:00\nlong|2-00:00:00\nfast|5:00\nendless|infinite\n"
    monkeypatch.setattr("seal.cluster.queue.slurm", lambda *command: told)
    monkeypatch.delenv("SBATCH_PARTITION", raising=False)
    assert partition_minutes(options) == minutes

    monkeypatch.setenv("SBATCH_PARTITION", "fast")  # what sbatch takes where no option names one
    assert partition_minutes(options) == (minutes if partition_is_named else 5)


def test_a_job_asks_for_no_time_where_a_networks_costs_are_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    params = params_with().model_copy(update={"model": NamedModel(network="torchvision:resnet18", options={})})
    monkeypatch.setattr("seal.cluster.limits.load_params", lambda: params)
    monkeypatch.setattr("seal.cluster.limits.has_active_parameters", lambda stage, params: True)
    jobs = {"base@0": ["base@0"], "evaluations@seal-0": ["knn@seal-0", "hessian@seal-0"]}
    write_csv(Path("timings/base@0.csv"), TIMING_COLUMNS, [{"seconds": 1, "peak_mb": 100, "date": "2026-01-01"}])
    assert limits_of(jobs, [], 30) == {"base@0": ["--mem=150"], "evaluations@seal-0": []}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: model is torchvision:resnet18, expected one of this project's ResNets")
    assert line.endswith("; jobs ask for no --time and get the partition's own; --sbatch=--time=MINUTES asks for one")

    assert limits_of(jobs, ["--time=5"], 30) == {"base@0": ["--mem=150"], "evaluations@seal-0": []}
    assert limits_of({}, [], 30) == {}
    assert capsys.readouterr().err == ""


def test_the_time_left_goes_by_what_this_submission_did_and_by_runs_of_its_parameters(submission: Submission) -> None:
    params = params_with()
    for seed, seconds in enumerate((7, 40, 900)):
        row = {"seconds": seconds, "peak_mb": 1, "date": "2026-01-01"}
        write_csv(Path(f"timings/train@seal-{seed}.csv"), TIMING_COLUMNS, [row])
    write_record(RESULTS, params.find_run("seal-0"))
    assert seconds_of_kind("train", submission, params) == 7
    assert seconds_of_kind("base", submission, params) is None

    submission.write_mark("train@seal-1", state="done")
    submission.write_mark("train@seal-2", state="running")
    assert seconds_of_kind("train", submission, params) == (7 + 40) / 2
    assert seconds_of_kind("train", submission, params.model_copy(update={"tier": "paper"})) == 40


def test_an_invalid_edit_meanwhile_leaves_the_status_as_it_is(submission: Submission) -> None:
    Path("params.yaml").write_text("tier: [")
    (submission.files / "params.yaml").write_text(yaml.safe_dump(SMOKE))
    assert time_left(submission, [Row("base@0", "waiting")]) == ["no time left to name: no base has ended here yet"]


def test_a_stages_memory_is_of_runs_by_these_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    smoke = params_with()
    write_record(RESULTS, smoke.find_run("seal-0"))
    rows = [{"seconds": 1, "peak_mb": peak, "date": "2026-01-01"} for peak in (9000, 700)]
    write_csv(Path("timings/train@seal-0.csv"), TIMING_COLUMNS, rows)
    assert peaks_mb("train@seal-0", smoke) == [700], "of the last run, which has left what lies there"
    assert peaks_mb("train@seal-0", smoke.model_copy(update={"tier": "paper"})) == []
    assert peaks_mb("train@seal-0", smoke.model_copy(update={"source": next(reversed(smoke.datasets))})) == []
    assert peaks_mb("train@llf-0", smoke) == []


@pytest.mark.parametrize(
    ("most", "expected"), [(math.inf, ["--time=12", "--time=15"]), (14, ["--time=12", "--time=14"])]
)
def test_a_job_asks_for_twice_the_time_of_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, expected: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seal.cluster.limits.load_params", lambda: None)
    monkeypatch.setattr("seal.cluster.limits.seconds_of", lambda stages, params: {"a": 60.0, "b": 70.0, "c": 80.0})
    assert [*chain(*limits_of({"first": ["a"], "second": ["b", "c"]}, [], most).values())] == expected


@pytest.mark.parametrize(
    ("options", "variables", "asked"),
    [
        (["--time=5"], {}, "mem"), (["--time", "5"], {}, "mem"), (["-t5"], {}, "mem"), (["-t", "5"], {}, "mem"),
        ([], {"SBATCH_TIMELIMIT": "5"}, "mem"), (["--time-min=5", "--tmp=1", "--threads-per-core=1"], {}, "time mem"),
        (["--mem=1G"], {}, "time"), (["--mem-per-cpu=1G"], {}, "time"), ([], {"SBATCH_MEM_PER_GPU": "1G"}, "time"),
        (["--mem-bind=local", "--qos=-t5"], {"SBATCH_TIMELIMIT": ""}, "time mem"),
        (["-t5"], {"SBATCH_MEM_PER_NODE": "1G"}, ""),
    ],
    ids=str,
)  # fmt: skip
def test_what_sbatch_is_told_already_is_not_asked_for(
    options: list[str], variables: dict[str, str], asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its options in each of their forms, and by its environment, which an option of ours would override."""
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("seal.cluster.limits.load_params", lambda: None)
    monkeypatch.setattr("seal.cluster.limits.has_active_parameters", lambda stage, params: True)
    monkeypatch.setattr("seal.cluster.limits.seconds_of", lambda stages, params: {"base@0": 60.0})
    write_csv(Path("timings/base@0.csv"), TIMING_COLUMNS, [{"seconds": 1, "peak_mb": 100, "date": "2026-01-01"}])
    expected = {"": [], "mem": ["--mem=150"], "time": ["--time=12"], "time mem": ["--time=12", "--mem=150"]}
    assert limits_of({"job": ["base@0"]}, options, math.inf)["job"] == expected[asked]


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 1), (255, 255), (-9, 137), (-15, 143)])
@pytest.mark.parametrize("remote", ["", "bucket"])
def test_a_dvc_that_a_signal_ended_has_a_shells_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, expected: int, remote: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("seal.cluster.workspace.subprocess.run", lambda *_, **__: SimpleNamespace(returncode=status))
    assert repro(Submission(tmp_path / "cluster/abc"), "base@0", tmp_path, 1, None, remote) == expected


@pytest.mark.parametrize(
    ("statuses", "expected"), [([0], 0), ([0, 0], 0), ([0, 137], 137), ([137, 0], 137), ([1, 255], 1)]
)
def test_a_job_of_several_stages_fails_as_the_first_that_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, statuses: list[int], expected: int
) -> None:
    monkeypatch.setenv(MARKER, str(tmp_path))
    left = iter(statuses)
    monkeypatch.setattr("seal.cluster.job.run_job", lambda *_: next(left))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            job_main([*(f"transfer@seal-{seed}" for seed in range(len(statuses))), "--threads", "1"])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == expected
    assert next(left, None) is None, "the others go on"
