"""The stages under a real DVC, in a folder without git: what runs again, and what a kill leaves behind."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.small import contents
from tests.small_project import dvc_project as dvc_project
from tests.small_project import write_params
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]


def command(project: Path, *arguments: str) -> subprocess.Popen[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": path,
        "SHELL": "/bin/sh",  # of DVC's stages: Debian's dash does not replace itself by its last command, bash does
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": str(project),
    }
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=project, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def run(project: Path, *arguments: str) -> str:
    with command(project, *arguments) as process:
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return output


def living_in(project: Path) -> list[int]:
    """Other processes whose working directory is the project's."""
    living = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _ = state_and_parent(entry)
            if entry.name != str(os.getpid()) and (entry / "cwd").resolve() == project and state != "Z":
                living.append(int(entry.name))
    return living


def state_and_parent(process: Path) -> tuple[str, int]:
    """Of a folder of /proc. A command's name, in brackets, may hold any character."""
    state, parent, *_ = (process / "stat").read_text().rpartition(")")[2].split()
    return state, int(parent)


def trainer_in(project: Path) -> int:
    """The training process, neither the shell that may stand before it nor a child of its own."""
    parents = {}
    for pid in living_in(project):
        process = Path(f"/proc/{pid}")
        with suppress(OSError):
            if b"seal.train" in (process / "cmdline").read_bytes().split(b"\0"):
                _, parents[pid] = state_and_parent(process)
    (trainer,) = (pid for pid, parent in parents.items() if parent not in parents)
    return trainer


@pytest.mark.slow
def test_a_killed_repro_leaves_no_trainer_and_the_next_one_ends_the_same(project: Path, tmp_path: Path) -> None:
    run(project, "dvc", "repro", "base@0")
    twin = tmp_path / "twin"
    shutil.copytree(project, twin, symlinks=True)
    run(twin, "dvc", "repro", "train@seal-0")

    with command(project, "dvc", "repro", "train@seal-0") as repro:
        try:
            wait_until(lambda: list(project.glob("scratch/seal-0-*/state.safetensors")))
            os.kill(trainer_in(project), signal.SIGSTOP)
            with command(project, "seal.train", "--run", "seal-0") as beside:
                output, _ = beside.communicate(timeout=60)
            assert beside.returncode == 1
            assert "error: another process is training in scratch/seal-0-" in output
        finally:
            repro.send_signal(signal.SIGKILL)
    wait_until(lambda: not living_in(project), seconds=5)
    assert not (project / "results/seal-0/summary.json").exists()

    output = run(project, "dvc", "repro", "train@seal-0")
    assert "generation 2/2  epoch 30/30" in output
    assert "epoch 1/30" not in output, "it went on from the resume point"
    assert contents(project / "results") == contents(twin / "results")
    assert (project / "dvc.lock").read_text() == (twin / "dvc.lock").read_text()


def judge_and_report_in_a_moment(project: Path) -> None:
    """What these two stages make is of no matter here."""
    for name, out in (("claims", "claims/claims.json"), ("report", "report/report.md")):
        code = f"from pathlib import Path\n\npath = Path({out!r})\npath.parent.mkdir(exist_ok=True)\npath.touch()\n"
        (project / f"eval/{name}/__main__.py").write_text(code)


@pytest.mark.slow
def test_a_new_seed_trains_that_seed_only_and_an_old_one_is_restored(project: Path) -> None:
    judge_and_report_in_a_moment(project)
    write_params(main_arms=["seal"])
    run(project, "dvc", "repro")
    lock = (project / "dvc.lock").read_text()
    assert "Data and pipelines are up to date" in run(project, "dvc", "repro")

    write_params(main_arms=["seal"], seeds=[0, 1])
    output = run(project, "dvc", "repro")
    ran = [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]
    assert ran[:2] == ["base@1", "train@seal-1"]
    assert sorted(ran[2:]) == ["claims", "curves", "report"]
    curves = (project / "curves/history.csv").read_text()
    assert all(f"\n{name},1,2,2," in curves for name in ("normal-0", "seal-0", "normal-1", "seal-1"))

    write_params(main_arms=["seal"])
    shutil.rmtree(project / "results")
    (project / "dvc.lock").unlink()
    output = run(project, "dvc", "repro")
    assert "epoch" not in output, "all of it came from the run cache"
    assert (project / "dvc.lock").read_text() == lock
