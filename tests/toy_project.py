"""A project of the pipeline's shape whose stages take a moment: what the tests of seal/cluster submit."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import yaml

from tests.strategies import SMOKE

# A stage's command: a hash of what it reads is what it makes. Begins and ends go to a log that all workspaces share.
TOY = """
import hashlib, os, sys, time
from pathlib import Path

from seal.stage import die_with_parent, stage

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
    if name == os.environ.get("TOY_FAILS"):
        sys.exit("error: it was asked to fail")
    if name not in ("fetch", "pack"):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
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
            "report": toy_stage("report", ["results", "claims/claims.json"], ["report/report.md"], ["seeds"]),
        }
    }


class ToyProject:
    """A folder with such a project, without Git, and commands that run there."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self.log = folder, folder.parent / f"{folder.name}.log"
        (folder / ".dvc").mkdir(parents=True)
        links = '[cache]\n    type = "hardlink,symlink,copy"\n'
        (folder / ".dvc/config").write_text(f"[core]\n    no_scm = true\n    analytics = false\n{links}")
        (folder / ".dvcignore").write_text("__pycache__\n/cluster/\n")
        (folder / "toy.py").write_text(TOY)
        (folder / "images.txt").write_text("images\n")
        (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline(), sort_keys=False))
        self.write_params()
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "TOY_LOG": str(self.log),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
        } | variables  # fmt: skip
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # DVC compiled anew takes as long as all else

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
            printed, _ = process.communicate(timeout=240)
        assert process.returncode == status, printed
        return printed

    def seal(self, *arguments: str, status: int = 0, **variables: str) -> str:
        return self.run("seal.cli", *arguments, status=status, **variables)

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

    @property
    def log_of_gather(self) -> str:
        (log,) = self.folder.glob("cluster/*/log/gather.log")
        return log.read_text()
