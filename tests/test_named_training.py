"""Networks of torchvision's, trained by the methods: interrupted or not the same bits, and wrong ones are a line."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from eval import prediction_depth
from eval.networks import load_network
from seal.checkpoint import State
from seal.clock import Clock
from seal.config import Params, load_params, parse_params
from seal.errors import ConfigError
from seal.models import drawn_values, network_of
from seal.networks import head_of
from seal.record import read_json
from seal.rng import stream
from seal.sections import Run
from seal.soundness import sound_run
from seal.train import run_stage
from seal.trainer import Trainer
from tests.small import BATCHES, CPU, GENERATIONS, TRAINING, contents, small_arm, small_data, train_small
from tests.small_project import write_params
from tests.strategies import SMOKE

VIT = {
    "network": "torchvision:VisionTransformer",
    "options": {"image_size": 8, "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16},
}
DENSE = {
    "network": "torchvision:DenseNet",
    "options": {"growth_rate": 4, "block_config": [2, 2], "num_init_features": 8, "drop_rate": 0.2},
}
THRESHOLDS = {"VisionTransformer": "encoder.layers.encoder_layer_1", "DenseNet": "features.denseblock2"}


def raw_params(model: dict[str, Any], method: str = "seal", **generations: Any) -> dict[str, Any]:
    threshold = THRESHOLDS.get(model["network"].partition(":")[2], "layer3")
    return SMOKE | {
        "arms": {"arm": small_arm(method)}, "main_arms": ["arm"], "evaluated_arms": [], "model": model,
        "training": SMOKE["training"] | TRAINING | {"epochs_per_generation": 2},
        "generations": SMOKE["generations"] | GENERATIONS | {"layer_threshold": threshold} | generations,
    }  # fmt: skip


def run_of(model: dict[str, Any], method: str = "seal", **generations: Any) -> Run:
    return Params.model_validate(raw_params(model, method, **generations)).run("arm", 0)


@pytest.mark.parametrize("method", ["normal_long", "llf", "seal", "dsd"])
@pytest.mark.parametrize("model", [VIT, DENSE], ids=["vit", "densenet"])
def test_a_training_goes_on_with_the_same_bits(tmp_path: Path, model: dict[str, Any], method: str) -> None:
    """Interrupted in generation 2, where the method does what is its own; DenseNet's dropout draws too."""
    run = run_of(model, method)
    whole = train_small(run, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train_small(run, tmp_path / "parts", at=3 * BATCHES + 1)
    torch.rand(3)  # what else draws in the process changes nothing
    train_small(run, tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")

    begun = network_of(run.model, 3, stream(0, "initialisation"), CPU).state_dict()
    trained = {name: value for name, value in whole.model.named_parameters() if value.ndim > 1}
    assert all(not torch.equal(value, begun[name]) for name, value in trained.items())
    if method == "dsd":
        assert sum(int((~mask).sum()) for mask in whole.masks.alive.values()) > 0
        assert all((whole.model.get_parameter(name)[~mask] == 0).all() for name, mask in whole.masks.alive.items())


@pytest.mark.parametrize("model", [VIT, DENSE], ids=["vit", "densenet"])
def test_the_rules_go_by_named_modules(model: dict[str, Any]) -> None:
    trainer = Trainer(run_of(model), small_data(run_of(model)), CPU)
    head = "heads.head" if model is VIT else "classifier"
    assert set(trainer.parts["fc"]) == {f"{head}.weight", f"{head}.bias"}
    assert trainer.parts["early"].keys() | trainer.parts["late"].keys() | trainer.parts["fc"].keys() == {
        name for name, _ in trainer.model.named_parameters()
    }
    stem, opens = ("class_token", "encoder.layers.encoder_layer_1.ln_1.weight")
    if model is DENSE:
        stem, opens = ("features.conv0.weight", "features.denseblock2.denselayer1.norm1.weight")
    assert stem in trainer.sides.early
    assert opens in trainer.sides.late

    drawn = trainer.view(Clock(2, 0), State()).drawn([*trainer.sides.late])
    again = network_of(trainer.run.model, 3, stream(0, "reinitialisation", 2), CPU).state_dict()
    assert {*trainer.sides.late} <= drawn.keys()
    assert all(torch.equal(value, again[name]) for name, value in drawn.items())


def test_with_the_scale_of_a_batchnorm_come_its_statistics() -> None:
    run = run_of(DENSE)
    network = network_of(run.model, 3, stream(0, "initialisation"), CPU)
    norm = "features.denseblock1.denselayer1.norm1"
    drawn = drawn_values(run.model, network, 3, stream(1, "again"), [f"{norm}.weight"])
    assert {*drawn} == {f"{norm}.{name}" for name in ("weight", "running_mean", "running_var", "num_batches_tracked")}


@pytest.mark.parametrize("model", [VIT, DENSE], ids=["vit", "densenet"])
def test_evaluations_look_at_what_was_trained(tmp_path: Path, model: dict[str, Any]) -> None:
    run = run_of(model, "normal_long")
    trainer = train_small(run, tmp_path)
    path = tmp_path / "weights/gen-02.safetensors"
    network = load_network(path, 2, run.model, CPU, {"classes": 3, "generations": {}, "outcomes": []}, 8, probed=True)
    x = next(iter(trainer.data.test.clean()))[0]
    with torch.no_grad():
        assert torch.equal(network.model(x), trainer.model.eval()(x))
        head = nn.functional.linear(network.model.features(x), network.model.fc.weight, network.model.fc.bias)
        torch.testing.assert_close(head, network.model(x))
    repeated = ["encoder_layer_0", "encoder_layer_1"] if model is VIT else ["denseblock1", "denseblock2"]
    assert [name.rpartition(".")[2] for name in network.blocks] == repeated


def test_the_shipped_parameters_take_a_network_as_architecture_says() -> None:
    params = SMOKE | {"model": {"network": "torchvision:resnet18"}}
    with pytest.raises(
        ConfigError, match=r"arms\.llf_kaiming_uniform: reinitialiser is kaiming_uniform, expected model"
    ):
        parse_params(params, "params.yaml")

    params["arms"] = {name: arm for name, arm in SMOKE["arms"].items() if name != "llf_kaiming_uniform"}
    assert parse_params(params, "params.yaml").model.network == "torchvision:resnet18"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "resnet34"}, "model.network: String should match pattern"),
        ({"network": "torchvision:resnet34", "depth": 18}, "model.depth: unknown key"),
        ({"options": {"num_classes": 3}}, "model.options: found num_classes, which is the dataset's"),
        ({"options": {"weights": "DEFAULT"}}, "model.options: found weights, which is those of the training"),
    ],
)
def test_a_section_that_is_wrong_is_a_line(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_params(raw_params(VIT | changes), "params.yaml")


@pytest.mark.parametrize(
    ("model", "generations", "words"),
    [
        (
            VIT,
            {"layer_threshold": "encoder.layers.encoder_layer_7"},
            "no such module, expected one such as encoder.layers",
        ),
        (
            VIT | {"network": "torchvision:VisionTransformr"},
            {},
            "no network 'VisionTransformr', expected one such as Vision",
        ),
        (VIT | {"options": {"widht": 3}}, {}, "can't be built with widht=3"),
        (VIT | {"options": VIT["options"] | {"image_size": 16}}, {}, "on images of 8x8: Wrong image height"),
        (VIT, {"reinitialiser": "kaiming_uniform"}, "reinitialiser is kaiming_uniform, expected model"),
    ],
)
def test_what_cannot_be_trained_is_a_line_before_it_begins(
    model: dict[str, Any], generations: dict[str, Any], words: str
) -> None:
    data = small_data(run_of(DENSE))
    with pytest.raises(ConfigError, match=words):
        Trainer(parse_params(raw_params(model, **generations), "params.yaml").run("arm", 0), data, CPU)


def test_the_stages_train_and_evaluate_it(project: Path) -> None:
    write_params(arms={"seal": small_arm("seal")}, main_arms=["seal"])
    params = yaml.safe_load(Path("params.yaml").read_text()) | {"model": DENSE}
    params["generations"]["layer_threshold"] = THRESHOLDS["DenseNet"]
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    shutil.rmtree("results")
    for name in ("normal-0", "seal-0"):
        run_stage(name, load_params())
    prediction_depth.main(["--run", "seal-0"])

    summary = sound_run(Path("results/seal-0")).summary
    assert summary["model"] == DENSE
    values = read_json(Path("results/seal-0/eval/prediction_depth/gen-02.json"))["values"]
    assert values["blocks"] == ["features.denseblock1", "features.denseblock2"]
    assert values["model_accuracy"] == pytest.approx(summary["final"]["test_accuracy"])


def test_a_head_that_is_called_by_keyword_is_the_head() -> None:
    class ByKeyword(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(input=x.flatten(1))  # type: ignore[no-any-return]

    assert head_of(ByKeyword().eval(), torch.rand(2, 2, 2, 2)) == "fc"


def below_zero() -> nn.Linear:
    """Whose outputs are negative for every image of values up to 1, whatever its weights are drawn as."""
    linear = nn.Linear(32, 3)
    nn.init.constant_(linear.bias, -32 / math.sqrt(32) - 1)
    return linear


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(4, 4), nn.Conv2d(2, 3, 2), nn.Flatten()),
        nn.Sequential(nn.Flatten(), below_zero(), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.Softmax(dim=1)),
        nn.Sequential(nn.Linear(4, 4)),
    ],
    ids=["convolution", "relu", "softmax", "logits of an image"],
)
def test_a_network_whose_logits_no_linear_layer_gives_is_a_line(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match=r"expected (such a head|logits)"):
        head_of(network.eval(), torch.rand(2, 2, 4, 4))
