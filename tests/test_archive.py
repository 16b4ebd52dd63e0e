"""The repository as a zip holds it: no .git, a space in the folder's name, and little more on the PATH than make."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def unpack(folder: Path) -> None:
    """What `git archive HEAD` holds; of a tree without git, all but what .dockerignore names."""
    folder.mkdir()
    if (ROOT / ".git").exists():
        archive = folder.parent / "seal.tar"
        subprocess.run(["git", "archive", "--output", archive, "HEAD"], cwd=ROOT, check=True)
        shutil.unpack_archive(archive, folder, filter="data")
        return
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    def made(parent: str, names: list[str]) -> set[str]:
        paths = {name: (Path(parent) / name).relative_to(ROOT).as_posix() for name in names}
        return {name for name, path in paths.items() if any(fnmatch.fnmatch(path, pattern) for pattern in patterns)}

    shutil.copytree(ROOT, folder, ignore=made, dirs_exist_ok=True)


def write_small_params(folder: Path) -> None:
    """One arm of a narrow network on the digits inside scikit-learn, in two generations of two epochs."""
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    digits = params["datasets"]["digits"] | {"image_size": 8}
    params |= {"source": "digits", "datasets": {"digits": digits}, "main_arms": ["seal"], "evaluated_arms": []}
    params["model"]["width"] = 2
    params["training"]["epochs_per_generation"] = 2
    params["runtime"] |= {"track": False, "threads": 1, "device": "cpu"}
    for evaluation in ("transfer", "fewshot", "fewshot_affines"):
        params[evaluation]["targets"] = []
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_unpacked_archive_trains_and_reports_without_git_and_without_a_compiler(tmp_path: Path) -> None:
    folder, tools = tmp_path / "SEAL of a reviewer", tmp_path / "tools"
    unpack(folder)
    assert not (folder / ".git").exists()
    write_small_params(folder)
    (folder / ".venv").symlink_to(sys.prefix)
    tools.mkdir()
    for name in ("make", "git"):
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    # Run by `make test`, this make is none of its parts.
    dropped = {"SEAL_SCRATCH", "VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    environment = kept | {"PATH": str(tools), "SHELL": "/bin/sh", "OMP_NUM_THREADS": "1", "TZ": "Asia/Kathmandu"}

    # -o: the environment is this one, and is not made anew for being older than what was unpacked.
    command = [tools / "make", "-o", ".venv/bin/.ready", "repro"]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, env=environment, timeout=500, **piped)
    assert done.returncode == 0, done.stdout
    assert "seal-0  generation 2/2  epoch 2/2" in done.stdout
    assert "report: report/report.html" in done.stdout
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    assert {"train@seal-0", "claims", "report"} <= lock["stages"].keys()
    assert "NOT-COMPARABLE" in (folder / "report/report.html").read_text(encoding="utf-8")
