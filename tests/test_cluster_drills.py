"""Faults on one machine: what is left after each, once the stages are submitted again, is what a serial run leaves.

Each begins with a stage held in its command, so that the fault comes while it is at work.
"""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.toy_project import HELD, ToyProject
from tests.waiting import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.timeout(1200)]


@contextmanager
def held(toy: ToyProject) -> Iterator["subprocess.Popen[str]"]:
    """A submission of which one stage waits in its command, and the other stages that can be run are done.

    It has ended after the block, in which the fault comes.
    """
    submitter = toy.start("seal.cli", "submit", "--local", "2", "--wait", TOY_HELD=HELD)
    wait_until(lambda: toy.has_begun(HELD) and toy.times("end")["transfer@llf-0"])
    try:
        yield submitter
    finally:
        toy.let_go()
        submitter.communicate(timeout=600)


def processes_of(toy: ToyProject, *words: str) -> list[int]:
    """Those of the project's submissions whose command line has these words."""
    return [pid for pid in toy.processes() if set(words) <= set(command_line(pid))]


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def kill(pids: list[int]) -> None:
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_a_killed_make_leaves_jobs_that_end_their_stage(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy) as submitter:
        kill(processes_of(toy, "make"))
        submitter.wait()
        assert toy.has_begun(HELD)
        again = toy.start("seal.cli", "submit", "--local", "2", "--wait")
        wait_until(lambda: processes_of(toy, "make"))
    again.communicate(timeout=600)
    assert again.returncode == 0
    toy.assert_as_serial(serial_toy)


def test_a_killed_job_takes_its_stage_with_it(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy) as submitter:
        kill(processes_of(toy, "seal.cluster.job", HELD))
        assert submitter.wait(timeout=600) == 1
        assert not processes_of(toy, "repro", HELD)
        assert re.search(rf"^{HELD} +stopped .*its job was killed; submit again$", toy.seal("status"), re.M)
    toy.submit()
    toy.assert_as_serial(serial_toy)
    assert toy.times("begin")[HELD] == 2


def test_cancel_ends_what_was_submitted_here_alone(toy: ToyProject, serial_toy: ToyProject, tmp_path: Path) -> None:
    other = ToyProject(tmp_path / "other", like=toy)
    with held(toy), other.start("seal.cli", "submit", "--local", "1", "--wait", "base") as beside:
        assert "processes ended" in toy.seal("cancel")
        assert not toy.processes()
        assert not toy.left_in_work
        assert beside.wait(timeout=600) == 0
    toy.submit()
    toy.assert_as_serial(serial_toy)


def test_a_stage_that_fails_stops_what_needs_it_alone(toy: ToyProject, serial_toy: ToyProject) -> None:
    printed = toy.submit(status=1, TOY_FAILS=HELD)
    assert f"error: not done: {HELD} transfer@seal-0; `seal status` says why" in printed
    status = toy.seal("status")
    assert re.search(rf"^{HELD} +failed .*error: it was asked to fail \(cluster/\w+/log/{HELD}.log\)$", status, re.M)
    assert re.search(rf"^transfer@seal-0 +stopped +needs {HELD}$", status, re.M)
    assert "4 done, 1 failed, 1 stopped" in status

    toy.seal("submit", "--local", "2")  # which ends at once, and make goes on
    assert "6 done" in toy.seal("status", "--follow")
    toy.assert_as_serial(serial_toy)


def test_what_is_submitted_twice_runs_once(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy) as submitter:
        refused = toy.submit(status=1)
        assert refused == "error: a make is at work here already; `seal status` shows it, `seal cancel` ends it\n"
        assert re.search(rf"^{HELD} +running .* since ", toy.seal("status"), re.M)
        assert re.search(rf"^transfer@seal-0 +waiting .*for {HELD}$", toy.seal("status"), re.M)
    assert submitter.returncode == 0
    toy.assert_as_serial(serial_toy)


def test_of_two_submitters_at_once_one_says_so(toy: ToyProject, serial_toy: ToyProject) -> None:
    both = [toy.start("seal.cli", "submit", "--local", "2", "--wait") for _ in range(2)]
    printed = [process.communicate(timeout=600)[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], printed
    (refused,) = (text for text, process in zip(printed, both, strict=True) if process.returncode)
    assert re.fullmatch("error: (another submit is under way|a make is at work) here.*\n", refused)
    toy.assert_as_serial(serial_toy)


def test_an_edit_while_jobs_wait_changes_none_of_them(toy: ToyProject, serial_toy: ToyProject) -> None:
    code, params = toy.folder / "toy.py", toy.folder / "params.yaml"
    before = {path: path.read_text() for path in (code, params)}
    with held(toy) as submitter:
        code.write_text("import sys; sys.exit('edited')")
        toy.write_params(seeds=[0, 1])
    assert submitter.returncode == 1
    assert "found code or parameters that have changed since" in toy.log_of("gather")
    for path, text in before.items():
        path.write_text(text)
    toy.submit()
    toy.assert_as_serial(serial_toy)


def test_a_lock_of_another_processor_does_not_train_twice(toy: ToyProject, serial_toy: ToyProject) -> None:
    """Its results of the same inputs are others, and are in no cache here; fetch and pack alone give the same."""
    here, _, jobs = serial_toy.lock.partition("  base@0:")

    def of_another(match: re.Match[str]) -> str:
        return match[0] if match[0] in here else match[0][::-1]

    falsified = re.sub(r"(?<=md5: )[0-9a-f]{32}(?=\n      size: 65\n)", of_another, jobs)
    assert falsified != jobs
    (toy.folder / "dvc.lock").write_text(f"{here}  base@0:{falsified}")
    toy.submit()
    toy.assert_as_serial(serial_toy)


def test_a_repro_by_hand_beside_jobs_runs_none_of_their_stages(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy) as submitter:
        printed = toy.run("dvc", "repro", HELD, status=255)
        assert f"{HELD} is at work as a job; `seal status` shows it, `seal cancel` ends it" in printed
        assert "Stage 'base@0' is cached - skipping run" in printed
    assert submitter.returncode == 0
    toy.assert_as_serial(serial_toy)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A disk of its own at a folder, with the files that are there, and no room."""
    kept = folder.with_name(f"{folder.name}.kept")
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(kept)
    folder.mkdir()
    size = sum(path.stat().st_size + 4096 for path in kept.rglob("*")) + 40_000
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()
        kept.rename(folder)


FOLDERS: dict[str, Callable[[ToyProject], Path]] = {
    "workspace": lambda toy: toy.submission.work,
    "cache": lambda toy: toy.folder / ".dvc/cache",
    "scratch": lambda toy: toy.folder / "scratch",
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("name", FOLDERS)
def test_a_full_disk_fails_a_job_and_harms_nothing(name: str, toy: ToyProject, serial_toy: ToyProject) -> None:
    toy.submit("base")
    with full_disk(FOLDERS[name](toy)):
        printed = toy.submit(status=1, TOY_FILLS="scratch")
        words = printed + "".join(path.read_text() for path in toy.submission.folder.glob("log/*.log"))
        assert re.search("the disk is full; make room|MB free, expected|No space left on device", words)
        assert not toy.times("end").keys() & {"train@llf-0", HELD}
    toy.submit()
    toy.assert_as_serial(serial_toy)
