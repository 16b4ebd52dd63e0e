"""The core needs torch, numpy and safetensors alone: where nothing else can be imported, and as it is installed."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from seal.checkpoint import State
from seal.config import load_params
from seal.data.pack import PACKS, open_pack
from seal.evaluations import EVALUATIONS
from seal.loop import train
from seal.methods import METHODS
from seal.sections import Run
from seal.trainer import Trainer
from seal.training_data import make_data
from tests.copies import copy_project
from tests.core_packages import core_entries, core_packages, core_requirements
from tests.documents import example
from tests.small import CPU, contents, small_arm
from tests.small_evaluations import SMALL, folder_of, run_stage
from tests.small_project import write_params

pytestmark = pytest.mark.xdist_group("core")  # one wheel, installed

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).parent / "uv"
WITHOUT_ANOTHER_PACKAGE: dict[str, dict[str, Any]] = {"hessian": {"solvers": ["power"], "power_steps": 10}}


def train_run(run: Run, folder: Path) -> None:
    trainer = Trainer(run, make_data(run, open_pack(PACKS / "mine.safetensors"), CPU), CPU)
    train(trainer, State(), folder, 1, lambda *batch: None, lambda row: None)


def evaluation_asked(project: Path, name: str) -> dict[str, Any]:
    """Run its stage here, and say what the core is asked of it."""
    targeted = EVALUATIONS[name].targeted
    small = SMALL.get(name, {}) | WITHOUT_ANOTHER_PACKAGE.get(name, {})
    write_params(**{name: small | ({"targets": ["mine"]} if targeted else {})})
    params = load_params()
    run_stage(name)
    asked = params.model_dump(mode="json")
    asked[name]["precision"] = getattr(params, name).precision  # unnamed in a record where it is float32
    return {
        "name": name,
        "run": params.find_run("normal-0").model_dump(mode="json"),
        "params": asked,
        "targets": ["mine"] if targeted else [],
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_trains_and_evaluates_needs_no_other_package_and_gives_the_same_bits(project: Path) -> None:
    arms = {method: small_arm(method) for method in METHODS}
    write_params(arms=arms, main_arms=list(arms), training={"epochs_per_generation": 2})
    runs = [load_params().run(method, 0) for method in METHODS]
    for run in runs:
        train_run(run, Path("here") / run.method)

    asked = {
        "modules": sorted(name.removesuffix(".py") for name in core_entries()),
        "paths": [str(ROOT), sysconfig.get_path("purelib")],
        "runs": [run.model_dump(mode="json") for run in runs],
        "evaluations": [evaluation_asked(project, name) for name in EVALUATIONS],
    }
    before = {name: contents(folder_of(project, name)) for name in EVALUATIONS}
    Path("asked.json").write_text(json.dumps(asked))
    for name in EVALUATIONS:
        shutil.rmtree(folder_of(project, name))

    script = [sys.executable, "-I", "-S", ROOT / "tests/core_alone.py", "asked.json"]
    done = subprocess.run(script, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    for method in METHODS:
        assert contents(Path("core") / method) == contents(Path("here") / method), method
    for name in EVALUATIONS:
        assert contents(folder_of(project, name)) == before[name], name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment's folder of programs: the wheel alone is installed, and sees only what the core needs."""
    root = tmp_path_factory.mktemp("wheel")
    copy_project(root / "project", ("pyproject.toml", "README.md", "LICENSE", "seal", "eval"))
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    run([sys.executable, "-c", build, root], cwd=root / "project")

    environment = root / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", environment])
    (wheel,) = root.glob("*.whl")
    run([UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", environment / "bin/python", wheel])

    (site_packages,) = environment.glob("lib/python*/site-packages")
    for name, place in core_entries().items():
        (site_packages / name).symlink_to(place)
    return environment / "bin"


def run(command: list[Any], cwd: Path | None = None) -> str:
    """What it prints; fails where it fails."""
    done = subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_wheel_holds_every_file_beside_the_modules(installed: Path) -> None:
    (site_packages,) = installed.parent.glob("lib/python*/site-packages")
    beside = [path for name in ("seal", "eval") for path in (ROOT / name).rglob("*") if path.is_file()]
    names = {path.relative_to(ROOT).as_posix() for path in beside if path.suffix not in (".py", ".pyc")}
    assert {"eval/claims/claims.yaml", "eval/report/templates/report.html"} <= names
    assert {name for name in names if not (site_packages / name).is_file()} == set()


def test_the_wheel_alone_runs_the_readmes_first_example(installed: Path, tmp_path: Path) -> None:
    code = example("SEAL in your own training loop", "python").replace("range(160)", "range(2)")
    assert "torchvision" not in code
    (tmp_path / "example.py").write_text(code + "import seal\nprint(seal.__file__)\n")
    printed = run([installed / "python", "-I", tmp_path / "example.py"], cwd=tmp_path)
    assert Path(printed.strip()).is_relative_to(installed.parent), "the wheel's own code"


def test_the_command_says_what_to_install(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([installed / "seal", "--help"], cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: found no typer, which the commands need")
    assert "`pip install '.[artifact]'`" in line


def test_the_core_asks_for_three_packages() -> None:
    assert {requirement.name for requirement in core_requirements()} == {"numpy", "safetensors", "torch"}
    assert not core_packages() & {"pydantic", "pyyaml", "rich", "scipy", "torchvision", "typer"}
