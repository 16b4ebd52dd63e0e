"""docs/own-network.md: its dataset, its checkpoints and its commands, with networks and numbers of a tiny size."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from seal.cli import app
from seal.own_records import own_networks
from tests.strategies import SMOKE

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/own-network.md").read_text(encoding="utf-8")
_, _, PACKING, CHECKPOINTS, COMMANDS = re.findall(r"```\w*\n(.*?)```", TEXT, re.DOTALL)
(DATASET,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
SMALLER = (
    ("resnet50(num_classes", "resnet18(num_classes"),
    ("vit_b_16(image_size=64", "VisionTransformer(64, 32, 2, 2, 8, 16"),
)
OPTIONS = {"patch_size": 32, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}


def test_the_document_shows_two_networks_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = SMOKE | {"datasets": SMOKE["datasets"] | yaml.safe_load(DATASET)}
    tiny: dict[str, dict[str, object]] = {
        "runtime": {"track": False}, "transfer": {"epochs": 1}, "fewshot": {"episodes": 2, "epochs": 1},
        "prediction_depth": {"train_images": 20, "test_images": 5},
        "hessian": {"batches": 1, "fixed_batches": 1, "eigenvalues": 2, "first_steps": 2, "bootstrap": 10},
    }  # fmt: skip
    for section, values in tiny.items():
        params[section] = params[section] | values
    Path("params.yaml").write_text(yaml.safe_dump(params))

    for line in PACKING.splitlines():
        subprocess.run([sys.executable, *shlex.split(line)[1:]], check=True)
    code = CHECKPOINTS
    for large, small in SMALLER:
        assert large in code
        code = code.replace(large, small)
    exec(code, {})

    smaller = {"--model torchvision:resnet50": "--model torchvision:resnet18", "size=8": "size=2", "=0.01": "=1.0"}
    for line in COMMANDS.splitlines():
        for large, small in smaller.items():
            line = line.replace(large, small)
        words = shlex.split(line)[1:]
        if "torchvision:vit_b_16" in words:
            words[words.index("torchvision:vit_b_16")] = "torchvision:VisionTransformer"
            for key, value in OPTIONS.items():
                words += ["--option", f"{key}={value}"]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output + str(result.exception)

    resnet, vit = own_networks().sound
    assert [folder.name for folder in vit.evaluation_folders()] == ["fewshot-digits_300", "transfer-digits_300"]
    assert [folder.name.partition("-")[0] for folder in resnet.evaluation_folders()] == [
        "fewshot", "hessian", "prediction_depth", "transfer",
    ]  # fmt: skip
    (depth,) = resnet.evaluations("prediction_depth-digits_300").values()
    assert len(depth.values["blocks"]) == 8
    assert torch.tensor(depth.values["depth_counts"]).sum() == 5
