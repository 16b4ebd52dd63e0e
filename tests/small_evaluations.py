"""Every evaluation in small, of the small project's normal-0."""

import importlib
from pathlib import Path
from typing import Any

from seal.evaluations import EVALUATIONS
from tests.small_project import write_params

EPISODES = {"n_way": 2, "shots": [2], "n_query": 3, "episodes": 5, "epochs": 3}
# What makes one a matter of seconds; one that is not here runs with the values of params/paper.yaml.
SMALL: dict[str, dict[str, Any]] = {
    "transfer": {"epochs": 4},
    "fewshot": EPISODES,
    "fewshot_affines": EPISODES,
    "hessian": {
        "batch_size": 4,
        "batches": 2,
        "fixed_batches": 2,
        "solvers": ["lanczos"],
        "bootstrap": 50,
        "tolerance": 0.1,
        "eigenvalues": 2,
    },
}


def run_stage(name: str) -> None:
    """`python -m eval.<name>` of normal-0, on the images that it was trained on."""
    target = ["--target", "mine"] if EVALUATIONS[name].targeted else []
    importlib.import_module(f"eval.{name}").main(["--run", "normal-0", *target])


def write_small_params(name: str) -> None:
    targets = {"targets": ["mine"]} if EVALUATIONS[name].targeted else {}
    write_params(**{name: SMALL.get(name, {}) | targets})


def folder_of(project: Path, name: str) -> Path:
    return project / "results/normal-0/eval" / (f"{name}-mine" if EVALUATIONS[name].targeted else name)
