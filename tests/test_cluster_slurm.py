"""The same on Slurm on loopback, which .ci/slurm/start.sh starts: `make drills` does, and ends it.

After each fault the stages are submitted again; what is then there is what a serial run leaves.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from seal.doctor.cluster import cluster_checks
from tests.documents import cluster_commands
from tests.toy_project import HELD, ToyProject
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
CONF = os.environ.get("SLURM_CONF", "")
STATE = Path(CONF).parent
LIMITS = ("--sbatch=--time=10", "--sbatch=--mem=100", "--group", "stage")
pytestmark = [
    pytest.mark.drill,
    pytest.mark.slurm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not CONF, reason="no SLURM_CONF: `make drills` starts Slurm on loopback and runs them"),
]


def slurm(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def queue() -> dict[str, str]:
    """The state of each job of `seal submit`, by its label: a stage, or gather."""
    lines = slurm("squeue", "--noheader", "--format=%j|%T").splitlines()
    return {name.rpartition(":")[2]: state for name, state in (line.split("|") for line in lines) if ":" in name}


def number_of(label: str) -> str:
    lines = slurm("squeue", "--noheader", "--format=%i|%j").splitlines()
    (number,) = (line.partition("|")[0] for line in lines if line.endswith(f":{label}"))
    return number


def wait_for_the_end() -> None:
    wait_until(lambda: not queue(), seconds=600)


def wait_for_saved_jobs() -> None:
    """Until the controller's saved state holds the queue as it is now. It saves within 5 s of a job's change; to be
    told once more that gather may be requeued counts as one."""
    now = time.time()
    slurm("scontrol", "update", f"JobId={number_of('gather')}", "Requeue=1")

    def are_saved() -> bool:
        with suppress(FileNotFoundError):  # for a moment, while the new file takes the name
            return (STATE / "ctld/job_state").stat().st_mtime > now
        return False

    wait_until(are_saved)


@pytest.fixture
def toy(packed_toy: ToyProject, tmp_path: Path) -> Iterator[ToyProject]:
    slurm(str(ROOT / ".ci/slurm/start.sh"), str(STATE))
    yield ToyProject(tmp_path / "a % project", like=packed_toy)
    slurm("scancel", "--user", slurm("id", "-un"))
    wait_for_the_end()


def submit(toy: ToyProject, *arguments: str, status: int = 0, **variables: str) -> str:
    return toy.seal("submit", "--slurm", *LIMITS, *arguments, status=status, **variables)


def finish(toy: ToyProject, serial: ToyProject) -> None:
    """Submit once more, and hold what comes of it against a serial run."""
    submit(toy)
    wait_for_the_end()
    toy.assert_as_serial(serial)
    assert "Data and pipelines are up to date" in toy.run("dvc", "status")


@contextmanager
def held(toy: ToyProject, *arguments: str) -> Iterator[None]:
    """A submission of which one stage waits in its command, and the other stages that can be run are done."""
    submit(toy, *arguments, TOY_HELD=HELD)
    wait_until(lambda: toy.has_begun(HELD) and queue().keys() <= {HELD, "transfer@seal-0", "gather"})
    yield
    toy.let_go()


def sbatch_before(folder: Path, line: str) -> str:
    """A PATH whose sbatch runs a line of shell first; `$calls` says how many jobs were handed over before."""
    folder.mkdir()
    wrapper = folder / "sbatch"
    count = f'case " $* " in *" --test-only "*) ;; *) calls=$(cat {folder}/calls 2>/dev/null || echo 0)'
    count += f"; echo $((calls + 1)) > {folder}/calls; {line};; esac"
    wrapper.write_text(f'#!/bin/bash\n{count}\nexec /usr/bin/sbatch "$@"\n')
    wrapper.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_jobs_of_a_run_go_together_and_share_a_gpu_by_shards(toy: ToyProject, serial_toy: ToyProject) -> None:
    printed = toy.seal("submit", "--slurm", "--sbatch=--gres=shard:1", TOY_HELD="base@0")
    assert "6 stages, 6 new jobs, threads of each: 1" in printed
    together = {f"evaluations@{run}" for run in ("normal-0", "llf-0", "seal-0")}
    assert queue().keys() == {"base@0", "train@llf-0", "train@seal-0", *together, "gather"}
    assert re.search(r"^transfer@llf-0 +waiting +for train@llf-0$", toy.seal("status"), re.M)
    (minutes,) = re.findall(r"TimeLimit=(\S+)", slurm("scontrol", "show", "job", number_of("base@0")))
    assert minutes > "00:10:00"
    toy.let_go()
    wait_for_the_end()
    assert toy.times("gpu=0").keys() | toy.times("gpu=1").keys() >= {"base@0", HELD, "transfer@seal-0"}
    assert "6 stages taken over, 0 not done" in toy.log_of("gather")
    finish(toy, serial_toy)


def test_a_submitter_killed_after_four_jobs(toy: ToyProject, serial_toy: ToyProject, tmp_path: Path) -> None:
    path = sbatch_before(tmp_path / "bin", "[ $calls -ge 4 ] && kill -9 $PPID && exit 1")
    submit(toy, status=-signal.SIGKILL, PATH=path, TOY_HELD="base@0")
    assert len(queue()) == 4
    assert "6 stages, 2 new jobs" in submit(toy)
    toy.let_go()
    wait_for_the_end()
    finish(toy, serial_toy)


def test_a_limit_on_jobs_in_the_queue(toy: ToyProject, serial_toy: ToyProject, tmp_path: Path) -> None:
    words = "sbatch: error: AssocMaxSubmitJobLimit"
    path = sbatch_before(tmp_path / "bin", f'[ $calls -ge 3 ] && {{ echo "{words}" >&2; exit 1; }}')
    printed = submit(toy, status=1, PATH=path)
    assert printed == f"error: 3 of 6 jobs went in, then {words}; the same command sends the rest\n"
    wait_for_the_end()
    finish(toy, serial_toy)


def test_two_submitters_at_once_and_one_more(toy: ToyProject, serial_toy: ToyProject) -> None:
    both = [toy.start("seal.cli", "submit", "--slurm", *LIMITS, TOY_HELD="base@0") for _ in range(2)]
    printed = [process.communicate(timeout=600)[0] for process in both]
    assert sorted(process.returncode for process in both) in ([0, 1], [0, 0]), printed
    assert "6 stages, 0 new jobs" in submit(toy)
    assert len(queue()) == 7
    toy.let_go()
    wait_for_the_end()
    finish(toy, serial_toy)


def test_requeue(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy):
        slurm("scontrol", "requeue", number_of(HELD))
        wait_until(lambda: toy.times("begin")[HELD] == 2)
        assert toy.submission.mark(HELD)["start"] == 1
    wait_for_the_end()
    assert "6 stages taken over, 0 not done" in toy.log_of("gather")
    finish(toy, serial_toy)


def test_preemption(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy):
        urgent = ["sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null"]
        slurm(*urgent, "--wrap=sleep 3")
        wait_until(lambda: queue().get(HELD) == "PENDING")
        wait_until(lambda: toy.times("begin")[HELD] == 2)
    wait_for_the_end()
    finish(toy, serial_toy)


def test_a_time_limit_is_another_start(toy: ToyProject, serial_toy: ToyProject) -> None:
    """Of two minutes, the last of which Slurm's signal comes before."""
    with held(toy, "--sbatch=--time=2"):
        wait_until(lambda: toy.times("begin")[HELD] == 2, seconds=600)
    wait_for_the_end()
    finish(toy, serial_toy)


def test_a_lost_node(toy: ToyProject, serial_toy: ToyProject) -> None:
    """Its daemon, the job's step and all that ran in it are killed; Slurm notices after SlurmdTimeout."""
    with held(toy):
        node, number = toy.submission.mark(HELD)["node"], number_of(HELD)
        os.kill(int((STATE / f"slurmd-{node}.pid").read_text()), signal.SIGKILL)
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"slurmstepd: [{number}." in (entry / "cmdline").read_text():
                    os.kill(int(entry.name), signal.SIGKILL)
        for pid in toy.processes():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: queue()[HELD] == "PENDING" or toy.times("begin")[HELD] == 2)
        slurm(str(ROOT / ".ci/slurm/start.sh"), str(STATE))
        wait_until(lambda: toy.times("begin")[HELD] == 2)
    wait_for_the_end()
    finish(toy, serial_toy)


def test_a_killed_controller(toy: ToyProject, serial_toy: ToyProject) -> None:
    """Once it has saved that the other stages have ended: else it starts them again, a minute later."""
    with held(toy):
        wait_for_saved_jobs()
        os.kill(int((STATE / "slurmctld.pid").read_text()), signal.SIGKILL)
        slurm(str(ROOT / ".ci/slurm/start.sh"), str(STATE))
        assert HELD in queue()
    wait_for_the_end()
    finish(toy, serial_toy)


def test_a_stage_that_fails(toy: ToyProject, serial_toy: ToyProject) -> None:
    submit(toy, TOY_FAILS=HELD)
    wait_for_the_end()
    assert "4 stages taken over, 2 not done" in toy.log_of("gather")
    assert f"not done: {HELD} transfer@seal-0" in toy.log_of("gather")
    assert re.search(rf"^{HELD} +failed .*error: it was asked to fail", toy.seal("status"), re.M)
    finish(toy, serial_toy)


def test_what_was_cancelled_stays_cancelled(toy: ToyProject, serial_toy: ToyProject) -> None:
    with held(toy):
        slurm("scancel", number_of(HELD))
        wait_for_the_end()
    assert f"not done: {HELD} transfer@seal-0" in toy.log_of("gather")
    assert toy.times("begin")[HELD] == 1
    finish(toy, serial_toy)


def test_cancel(toy: ToyProject, serial_toy: ToyProject) -> None:
    stranger = slurm("sbatch", "--parsable", "--job-name=stranger", "--output=/dev/null", "--wrap=sleep 600")
    with held(toy):
        assert "3 jobs and " in toy.seal("cancel")
        wait_until(lambda: not queue())
        assert slurm("squeue", "--noheader", "--format=%j") == "stranger"
    slurm("scancel", stranger)
    finish(toy, serial_toy)


def test_a_job_that_slurm_has_forgotten(toy: ToyProject, serial_toy: ToyProject, tmp_path: Path) -> None:
    """A dependency on one counts as satisfied: jobs begin before what they need, and refuse to make it themselves."""
    path = sbatch_before(tmp_path / "bin", 'set -- "${@/afterok:[0-9]*,/afterok:999999,}"')
    submit(toy, PATH=path, TOY_HELD="base@0")
    wait_until(lambda: toy.has_begun("base@0") and queue().keys() <= {"base@0", "gather"})
    toy.let_go()
    wait_for_the_end()
    assert "expected it done before; submit again" in toy.log_of("transfer@seal-0")
    assert set(toy.times("begin").values()) == {1}
    finish(toy, serial_toy)


def test_what_sbatch_refuses_is_its_own_line_and_nothing_is_in_the_queue(toy: ToyProject) -> None:
    for option in ("--partition=nowhere", "--gres=gpu:9", "--time=never"):
        printed = submit(toy, f"--sbatch={option}", status=1)
        assert re.fullmatch(r"error: .*(sbatch|allocation failure): .*\n", printed), printed
    assert not queue()


def test_the_doctor_asks_the_nodes(toy: ToyProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.folder)
    findings = {name: check() for name, check in cluster_checks().items()}
    assert findings["locks"].fact == "a node sees a lock that is held here"
    assert re.fullmatch(r"2 of \d+ cores, gpu:2,shard:4", findings["nodes"].fact)
    assert "MaxArraySize" in findings["limits"].fact
    assert findings["accounting"].fact.startswith("none: ")


def test_the_documents_commands_run(toy: ToyProject, serial_toy: ToyProject) -> None:
    checked, dry, *others = cluster_commands("Slurm")
    assert checked == ["seal", "doctor", "--cluster"]  # of the project's own environment: tests/test_doctor.py
    assert "#!/bin/bash" in toy.seal(*dry[1:])
    for words in others:
        toy.seal(*words[1:])
    wait_for_the_end()
    finish(toy, serial_toy)


def test_an_image_is_run_by_apptainer(toy: ToyProject, serial_toy: ToyProject, tmp_path: Path) -> None:
    """By a stand-in for it, which looks at its options and runs the command."""
    apptainer = tmp_path / "bin/apptainer"
    apptainer.parent.mkdir()
    options = f'[ "$1 $2 $3 $5" = "exec --nv --bind {tmp_path}/seal.sif" ] || exit 9'
    apptainer.write_text(f'#!/bin/sh\n{options}\nshift 5\nexec "$@"\n')
    apptainer.chmod(0o755)
    (tmp_path / "seal.sif").touch()
    assert "found no --image nothing.sif" in submit(toy, "--image", "nothing.sif", status=1)

    path = f"{apptainer.parent}{os.pathsep}{toy.environment['PATH']}"
    submit(toy, "--image", str(tmp_path / "seal.sif"), PATH=path)
    wait_for_the_end()
    finish(toy, serial_toy)


def test_a_dry_submission_prints_scripts_and_sends_nothing(toy: ToyProject) -> None:
    printed = submit(toy, "--dry")
    assert printed.count("#!/bin/bash") == 7
    assert "--dependency=afterok:train@seal-0,singleton --kill-on-invalid-dep=yes" in printed
    assert not queue()
