"""A project of the pipeline's shape whose stages take a moment: what the tests of seal/cluster submit.

TOY_FAILS names a stage that fails, TOY_HELD one that waits, once begun, until `let_go` is called; with TOY_FILLS
stages write to scratch, as a training does.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from seal.cluster.processes import end_all, started_here
from seal.cluster.submission import Submission
from seal.config import load_params
from tests.invented_machine import write_calibration
from tests.strategies import SMOKE
from tests.waiting import wait_until

HELD = "train@seal-0"  # by the drills, so that a fault comes while it is at work
# A stage's command: a hash of what it reads is what it makes. Begins and ends go to a log that all workspaces share.
TOY = """
import hashlib, os, sys, time
from pathlib import Path

from seal.interruption import die_with_parent
from seal.stage import stage

die_with_parent()
label, *paths = sys.argv[1:]
name, middle = os.environ["DVC_STAGE"], paths.index("--")


def note(word):
    with open(os.environ["TOY_LOG"], "a") as log:
        log.write(f"{word} {name}\\n")


def contents(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return b"".join(file.read_bytes() for file in files if file.is_file())


with stage(label):
    note("begin")
    note("gpu=" + os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    if name == os.environ.get("TOY_FAILS"):
        sys.exit("error: it was asked to fail")
    if "TOY_FILLS" in os.environ:
        Path(os.environ["SEAL_SCRATCH"], name).write_bytes(bytes(100_000))
    while name == os.environ.get("TOY_HELD") and not Path(os.environ["TOY_LOG"] + ".open").exists():
        time.sleep(0.1)
    read = b"".join(contents(Path(path)) for path in paths[:middle])
    for path in map(Path, paths[middle + 1 :]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(hashlib.sha256(label.encode() + path.name.encode() + read).hexdigest() + "\\n")
    note("end")
"""


def toy_stage(label: str, deps: list[str], outs: list[str], params: list[str]) -> dict[str, object]:
    command = f"exec python toy.py {label} {' '.join(deps)} -- {' '.join(outs)}"
    return {"cmd": command, "deps": ["toy.py", *deps], "params": params, "outs": outs}


def pipeline() -> dict[str, object]:
    """fetch and pack of two datasets, a base, two trainings, three evaluations, and what reads them all."""
    arms, seeds, run = "${main_arms}", "${seeds}", "results/${item.arm}-${item.seed}"
    fetch = toy_stage("fetch", ["images.txt"], ["data/sources/${key}.json"], ["datasets.${key}"])
    pack = toy_stage("pack", ["data/sources/${key}.json"], ["data/packs/${key}"], ["datasets.${key}"])
    base = toy_stage("base", ["data/packs/mnist_5k"], ["results/normal-${item.seed}/weights"], ["training"])
    train = toy_stage("train", ["results/normal-${item.seed}/weights"], [f"{run}/weights"], ["arms.${item.arm}"])
    transfer = toy_stage("transfer", ["data/packs/digits", f"{run}/weights"], [f"{run}/eval/transfer"], ["transfer"])
    return {
        "stages": {
            "fetch": {"foreach": "${datasets}", "do": fetch},
            "pack": {"foreach": "${datasets}", "do": pack},
            "base": {"matrix": {"seed": seeds}} | base,
            "train": {"matrix": {"arm": arms, "seed": seeds}} | train,
            "transfer": {"matrix": {"arm": "${evaluated_arms}", "seed": seeds}} | transfer,
            "curves": toy_stage("curves", ["results"], ["curves/history.csv"], ["seeds"]),
            "claims": toy_stage("claims", ["results"], ["claims/claims.json"], ["seeds"]),
            "report": toy_stage("report", ["results", "claims/claims.json"], ["report/findings.md"], ["seeds"]),
        }
    }


class ToyProject:
    """A folder with such a project, without Git, and commands that run there."""

    def __init__(self, folder: Path, like: "ToyProject | None" = None) -> None:
        """A new one; or a copy of another as it is now, log and cache included."""
        self.folder, self.log = folder.resolve(), folder.resolve().parent / f"{folder.name}.log"
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "TOY_LOG": str(self.log),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # DVC compiled anew takes as long as all else
        if like is not None:
            shutil.copytree(like.folder, folder)
            shutil.copy(like.log, self.log)
            return

        (folder / ".dvc").mkdir(parents=True)
        links = '[cache]\n    type = "hardlink,symlink,copy"\n'
        (folder / ".dvc/config").write_text(f"[core]\n    no_scm = true\n    analytics = false\n{links}")
        (folder / ".dvcignore").write_text("__pycache__\n/cluster/\n")
        (folder / "toy.py").write_text(TOY)
        (folder / "images.txt").write_text("images\n")
        (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline(), sort_keys=False))
        self.write_params()

    def write_params(self, **changes: object) -> None:
        runtime = {"runtime": SMOKE["runtime"] | {"track": False}}
        arms = {"main_arms": ["llf", "seal"], "evaluated_arms": ["normal", "llf", "seal"]}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(SMOKE | runtime | arms | changes, sort_keys=False))

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=self.folder, env=self.environment | variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """What a module's command printed, once it has ended with this status."""
        with self.start(*arguments, **variables) as process:
            printed, _ = process.communicate(timeout=600)
        assert process.returncode == status, printed
        return printed

    def seal(self, *arguments: str, status: int = 0, **variables: str) -> str:
        return self.run("seal.cli", *arguments, status=status, **variables)

    def submit(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """On this machine, two stages at once; until all has ended."""
        return self.seal("submit", "--local", "2", "--wait", *arguments, status=status, **variables)

    def let_go(self) -> None:
        self.log.with_suffix(".log.open").touch()

    def has_begun(self, stage: str) -> bool:
        return self.times("begin")[stage] > self.times("end")[stage]

    @property
    def submission(self) -> Submission:
        (facts,) = self.folder.glob("cluster/*/submitted.json")
        return Submission(facts.parent)

    @property
    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()

    def times(self, word: str) -> Counter[str]:
        """How many times each stage's command came to `begin` or `end`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(line.partition(" ")[2] for line in lines if line.startswith(f"{word} "))

    @property
    def left_in_work(self) -> list[Path]:
        return [*self.folder.glob("cluster/*/work/*")]

    def log_of(self, label: str) -> str:
        return self.submission.log(label).read_text()

    def processes(self) -> list[int]:
        """Those that its submissions have started."""
        with contextlib.chdir(self.folder):
            return list(started_here())

    def assert_as_serial(self, serial: "ToyProject") -> None:
        """As the same project is after `dvc repro`, whose log holds each command once; nothing is left over."""
        assert self.lock == serial.lock
        assert self.times("end") == serial.times("end")
        assert not self.left_in_work
        wait_until(lambda: not self.processes(), seconds=60)


@pytest.fixture(scope="session")
def packed_toy(tmp_path_factory: pytest.TempPathFactory) -> ToyProject:
    """A project whose datasets are packed, on a machine whose rates are known."""
    project = ToyProject(tmp_path_factory.mktemp("toy") / "packed")
    project.run("dvc", "repro", "pack")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", project.environment["OMP_NUM_THREADS"])
        write_calibration(load_params(project.folder / "params.yaml"), project.folder / "scratch")
    return project


@pytest.fixture(scope="session")
def serial_toy(packed_toy: ToyProject) -> ToyProject:
    """The same, after `dvc repro`."""
    project = ToyProject(packed_toy.folder.parent / "serial", like=packed_toy)
    project.run("dvc", "repro")
    return project


@pytest.fixture
def toy(packed_toy: ToyProject, tmp_path: Path) -> Iterator[ToyProject]:
    """A copy of the packed one; what a failed test has left at work is ended."""
    project = ToyProject(tmp_path / "a % project", like=packed_toy)
    yield project
    with contextlib.chdir(project.folder):
        end_all()


@pytest.fixture
def submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Submission:
    """Of a project to be in, with the folders that a snapshot makes."""
    monkeypatch.chdir(tmp_path)
    for folder in ("abc/log", "abc/marks", "abc/work", "abc/snapshot", "lock"):
        Path("cluster", folder).mkdir(parents=True)
    return Submission(tmp_path / "cluster/abc")
