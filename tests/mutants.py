"""Whether the tests find the faults of tests/mutants.yaml: `python -m tests.mutants [WORD ...]`, a line for each.

WORDs choose the faults whose names hold one of them. Settings of the environment, as MKL_CBWR, reach the tests.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.copies import copy_project

ROOT = Path(__file__).parents[1]
COPIED = (
    "seal",
    "eval",
    "tests",
    "params",
    "expected",
    "params.yaml",
    "dvc.yaml",
    "folders.json",
    "pyproject.toml",
    "README.md",
)


@dataclass(frozen=True)
class Mutant:
    fault: str
    file: str
    text: str
    instead: str
    tests: str  # what pytest takes, below tests/


def mutants() -> list[Mutant]:
    entries = yaml.safe_load((ROOT / "tests/mutants.yaml").read_text(encoding="utf-8"))
    return [Mutant(**entry) for entry in entries]


def outcomes(chosen: list[Mutant], copy: Path) -> Iterator[tuple[Mutant, str]]:
    """Each fault, alone in the copy, and whether its tests fail."""
    for mutant in chosen:
        path = copy / mutant.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(mutant.text, mutant.instead), encoding="utf-8")
        arguments = [f"tests/{word}" if word.endswith(".py") else word for word in shlex.split(mutant.tests)]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments],
            cwd=copy, env=os.environ | {"PYTHONPATH": str(copy)}, capture_output=True, text=True,
        )  # fmt: skip
        path.write_text(text, encoding="utf-8")
        yield mutant, {0: "ALIVE", 1: "caught"}.get(done.returncode, f"pytest ended with {done.returncode}")


def main() -> None:
    words = sys.argv[1:]
    chosen = [mutant for mutant in mutants() if not words or any(word in mutant.fault for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder), COPIED)

        alive = 0
        for mutant, outcome in outcomes(chosen, Path(folder)):
            alive += outcome != "caught"
            print(f"{outcome}: {mutant.fault} ({mutant.file})", flush=True)
    sys.exit(f"{alive} of {len(chosen)} not caught" if alive else 0)


if __name__ == "__main__":
    main()
