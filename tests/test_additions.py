"""A method and an evaluation, added as docs/architecture.md says: applied to a copy, run, and seen by all that read."""

import json
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from seal.data.pack import open_pack
from seal.models import ResNet
from seal.record import read_json
from seal.rng import stream
from seal.sections import Model
from tests.conftest import NewDatabase
from tests.copies import copy_project
from tests.small import GENERATIONS, MODEL
from tests.strategies import SMOKE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("mlflow"),  # one new database for all who ask for it
]

ROOT = Path(__file__).parents[1]
COPIED = (
    "seal", "eval", "params", "benchmarks/methods.csv", "tests", "dvc.yaml", "folders.json", "pyproject.toml",
    ".dvcignore", ".dvc/config",
)  # fmt: skip
LAST = GENERATIONS["num_generations"]


@pytest.fixture
def copy(tmp_path: Path, new_database: NewDatabase) -> Path:
    """A copy of the project in which nothing has been run, with 32 images of its user's."""
    folder = tmp_path / "project"
    copy_project(folder, COPIED)

    (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    shutil.copy(new_database.path, folder)
    draw_images(folder / "images")
    return folder


def draw_images(folder: Path) -> None:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for position in range(16):
            pixels = torch.randint(256, (8, 8, 3), dtype=torch.uint8, generator=stream(position, name))
            Image.fromarray(pixels.numpy()).save(folder / name / f"{position}.png")


def apply(patch: str, copy: Path) -> list[str]:
    """Apply a patch to the copy. Gives the files that it touches."""
    command = ["git", "apply", str(ROOT / "tests/additions" / patch)]
    alone = os.environ | {"GIT_CEILING_DIRECTORIES": str(copy.parent)}  # whatever repository is around it
    listed = subprocess.run([*command, "--numstat"], cwd=copy, env=alone, capture_output=True, text=True, check=True)
    subprocess.run(command, cwd=copy, env=alone, check=True)
    return [line.split("\t")[2] for line in listed.stdout.splitlines()]


def run_pipeline(copy: Path, **asked: Any) -> tuple[dict[str, Any], str]:
    """What the driver tells, and what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "tests.additions.driver", json.dumps(asked)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_json(copy / "told.json"), done.stdout


def answers(copy: Path, run: str, generation: int = LAST) -> tuple[Tensor, Tensor]:
    """By hand: a network's outputs for the test images, and their classes."""
    model = ResNet(Model(**MODEL), 2)
    model.load_state_dict(load_file(copy / f"results/{run}/weights/gen-{generation:02d}.safetensors"))
    test, training = open_pack(copy / "data/packs/mine.safetensors")["test"], SMOKE["training"]

    pixels = (test.images / 255 - torch.tensor(training["mean"])) / torch.tensor(training["std"])
    with torch.no_grad():
        return model.eval()(pixels.permute(0, 3, 1, 2)), test.labels


def in_mlflow(copy: Path, run: str, table: str) -> dict[str, Any]:
    """A run's `params`, or the last of its `latest_metrics`, straight from the database."""
    query = f"select key, value from {table} join runs using (run_uuid) where name = ? and lifecycle_stage = 'active'"
    with sqlite3.connect(copy / "mlflow.db") as database:
        return dict(database.execute(query, [run]).fetchall())


def rows_of(report: str, label: str) -> list[list[str]]:
    """The cells of each row of the report's tables that begins with this label."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in report.splitlines() if line[:1] == "|"]
    return [row[1:] for row in rows if row[0] == label]


def test_a_method_with_a_number_of_its_own_is_two_files_and_is_seen_by_all(copy: Path) -> None:
    assert sorted(apply("method.patch", copy)) == ["params/paper.yaml", "seal/methods/paper.py"]
    added = yaml.safe_load((copy / "params/paper.yaml").read_text())["arms"]["fade"]
    assert added == {"method": "fade", "fade": 0.5}
    arms = {"fade": added, "fade_more": added | {"fade": 0.3}, "normal_long": {"method": "normal_long"}}
    told, printed = run_pipeline(
        copy,
        sections={
            "arms": arms, "main_arms": ["normal_long", "fade"], "seeds": [0, 1],
            "sensitivity_arms": ["fade_more"], "sensitivity_seeds": [0],
            "training": {"learning_rate": 1e-30},  # moves no weight by a bit
            "generations": {"kept_generations": [1, 2]},
        },
        runs=["normal-0", "normal-1", "normal_long-0", "normal_long-1", "fade_more-0", "fade-1", "fade-0"],
        evaluations=[], tests=[], judged=["summary.json", "final", "test_accuracy"],
    )  # fmt: skip

    for run, number in (("fade-0", 0.5), ("fade_more-0", 0.3)):
        first, second = (load_file(copy / f"results/{run}/weights/gen-0{end}.safetensors") for end in (1, 2))
        for name, before in first.items():
            if before.ndim > 1:
                late = name.startswith(("layer3.", "layer4.", "fc."))
                assert torch.equal(second[name], number * before if late else before), (run, name)

    summary = read_json(copy / "results/fade-0/summary.json")
    outputs, classes = answers(copy, "fade-0")
    accuracy = (outputs.argmax(1) == classes).double().mean().item()
    assert summary["final"]["test_accuracy"] == accuracy
    assert summary["options"] == {"fade": 0.5}
    assert told["judged"]["fade-0"] == {"test_accuracy": accuracy}
    assert told["compared"] == [True, False, False], "a copy; and an accuracy that is not its predictions' mean"
    assert "fade-0: the same as" in printed
    assert printed.count("BROKEN, and agrees with nothing: ") == 2

    assert told["synced"] == ["written"] * 7
    assert in_mlflow(copy, "fade-0", "params")["options.fade"] == "0.5"
    assert in_mlflow(copy, "fade-0", "latest_metrics")["final/test_accuracy"] == accuracy

    report = (copy / "report/report.md").read_text()
    ends = [read_json(copy / f"results/fade-{seed}/summary.json")["final"]["test_accuracy"] for seed in (0, 1)]
    _, last_and_best = rows_of(report, "fade")  # after its row of Table 2
    assert last_and_best[0] == f"{50 * sum(ends):.2f} ± {100 * statistics.stdev(ends):.2f}"
    assert ["fade = 0.3"] in [row[:1] for row in rows_of(report, "fade_more")], "in the table of changed parameters"

    assert told["planned"]["prices"]["train@fade-0"] > 0
    assert told["planned"]["prices"]["train@fade-0"] == told["planned"]["prices"]["train@normal_long-0"]
    assert told["planned"]["lines"]["train"]["count"] == 4


def test_an_evaluation_is_six_files_and_is_seen_by_all(copy: Path) -> None:
    assert sorted(apply("evaluation.patch", copy)) == [
        "dvc.yaml",
        "eval/claims/claims.yaml",
        "eval/confidence.py",
        "params/paper.yaml",
        "seal/evaluations.py",
        "tests/test_confidence.py",
    ]
    arms = ["normal", "normal_long", "seal"]
    runs = [f"{arm}-{seed}" for arm in arms for seed in (1, 0)]
    told, printed = run_pipeline(
        copy,
        sections={
            "arms": {"normal_long": {"method": "normal_long"}},
            "main_arms": arms[1:], "evaluated_arms": arms, "seeds": [0, 1],
        },
        runs=runs, evaluations=["confidence"],
        tests=["tests/test_confidence.py", "tests/test_evaluations.py", "-k", "confidence"],
        judged=["eval/confidence/gen-02.json", "values", "mean_confidence"],
    )  # fmt: skip
    assert told["tests"] == 0, printed

    by_hand = {}
    for run in runs[2:]:
        largest = answers(copy, run)[0].softmax(1).amax(1)
        arrays = np.load(copy / f"results/{run}/eval/confidence/gen-02.npz")
        np.testing.assert_allclose(arrays["confidence"], largest.numpy(), rtol=1e-5)
        by_hand[run] = largest.double().mean().item()

        value = pytest.approx(by_hand[run], rel=1e-5)
        assert read_json(copy / f"results/{run}/eval/confidence/gen-02.json")["values"] == {"mean_confidence": value}
        assert told["judged"][run]["confidence-gen-02/mean_confidence"] == value
        assert in_mlflow(copy, run, "latest_metrics")["final/confidence-gen-02/mean_confidence"] == value

    assert told["compared"] == [True, True, False], "a copy; a bit that differs; a number that its arrays contradict"
    assert "seal-0: the same as" in printed
    judged = len(told["judged"]["seal-0"])
    assert re.search(rf"seal-0: not the same bits in \S+( and \d+ more)?; {judged} values within the spread", printed)
    assert printed.count("BROKEN, and agrees with nothing: ") == 1

    means = {arm: 50 * (by_hand[f"{arm}-0"] + by_hand[f"{arm}-1"]) for arm in ("seal", "normal_long")}
    claims = {claim["id"]: claim for claim in read_json(copy / "claims/claims.json")["claims"]}
    (comparison,) = claims["confidence_below_normal_long"]["comparisons"]
    assert comparison["means"] == pytest.approx([*means.values()], rel=1e-5)

    (row,) = rows_of((copy / "report/report.md").read_text(), "confidence on test images, %")
    assert [cell.split(" ± ")[0] for cell in row[1:]] == [f"{means[arm]:.1f}" for arm in ("normal_long", "seal")]

    assert told["planned"]["prices"]["confidence@seal-0"] > 0
    assert told["planned"]["lines"]["confidence"]["count"] == 6
