"""A project in small, of a user's own images, whose stages take a moment: its parameters, images, a copy for DVC."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from seal.evaluations import EVALUATIONS
from seal.rng import stream
from tests.copies import copy_project
from tests.small import GENERATIONS, MODEL, TRAINING, small_arm
from tests.strategies import SMOKE

ROOT = Path(__file__).parents[1]
ARMS = {
    "seal": small_arm("seal"),
    "llf": small_arm("llf"),
    "normal_long_cosine": small_arm("normal_long", schedule="one_cosine"),
    "ascends_at_once": small_arm("seal", first_ascent_generation=1),
    "faster": small_arm("seal", learning_rate=0.06),
    "diverges": small_arm("seal", ascent_lr_scale=1e25),
    "recorded": small_arm("seal", ascent_lr_scale=1e25, on_divergence="record"),
}


def write_params(**sections: Any) -> None:
    params = json.loads(json.dumps(SMOKE)) | {
        "main_arms": list(ARMS), "evaluated_arms": [], "arms": ARMS, "source": "mine",
        "model": MODEL,
        "datasets": {
            "mine": {"source": "folder", "path": "images", "image_size": 8, "split": {"test": 0.25, "val": 0.25}},
        },
    }  # fmt: skip
    for name, evaluation in EVALUATIONS.items():
        if evaluation.targeted:
            params[name]["targets"] = []
    params["training"] |= TRAINING | {"batch_size": 8}  # of the 16 that are trained on
    params["generations"] |= GENERATIONS
    params["runtime"] |= {"track": False, "optimizer_backend": "reference"}
    for key, value in sections.items():
        params[key] = params[key] | value if isinstance(value, dict) else value
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def make_images(root: Path) -> None:
    """A user's image folder: two classes of 16 drawn images."""
    for name in ("cat", "dog"):
        (root / "images" / name).mkdir(parents=True)
        for position in range(16):
            pixels = torch.randint(256, (8, 8, 3), dtype=torch.uint8, generator=stream(position, name))
            Image.fromarray(pixels.numpy()).save(root / "images" / name / f"{position}.png")


def copy_declared(stage: str, arm: str, project: Path, folder: Path) -> None:
    """What dvc.yaml declares that this stage reads, as a job's workspace has it (seal/cluster), and nothing else."""
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    for name, value in {"source": "mine", "item.target": "mine", "item.arm": arm, "item.seed": "0"}.items():
        text = text.replace(f"${{{name}}}", value)

    for dependency in ("params.yaml", *yaml.safe_load(text)["stages"][stage]["deps"]):
        path = project / dependency
        if path.is_dir():
            shutil.copytree(path, folder / dependency)
        elif path.exists():
            (folder / dependency).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / dependency)


LONG = {"epochs_per_generation": 30}


@pytest.fixture(name="project")
def dvc_project(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the code that its stages run, and no git."""
    folder = tmp_path / "a project"
    shutil.copytree(packed / "images", folder / "images")
    code = ("seal", "eval", "params", "benchmarks/methods.csv", "dvc.yaml", "folders.json")
    copy_project(folder, (*code, ".dvcignore", ".dvc/config"))
    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    monkeypatch.chdir(folder)
    write_params(training=LONG)
    return folder.resolve()
