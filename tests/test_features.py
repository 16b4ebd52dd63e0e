"""The features that a frozen network gives: names, shapes, and what is refused."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from eval.features import outputs_of, plain_batches, pooled_features, require_evaluation_mode, require_plain
from eval.probes import block_features
from seal.errors import UserError
from seal.models import ResNet, block_names, build
from seal.rng import stream
from seal.sections import Model
from tests.small import CPU, small_data, small_images, small_run

pytestmark = pytest.mark.numerical

SMALL = Model(depth=18, width=2, stem="small", classifier_bias="zero")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


def test_block_features_are_those_of_the_papers_figure() -> None:
    """ResNet-50 at 64x64 (He et al. 2016, table 1, stem with max-pooling): 256 channels at 16x16, halved each layer."""
    model = Model(depth=50, width=64, stem="imagenet", classifier_bias="zero")
    with torch.device("meta"):
        network, x = ResNet(model, 200).eval(), torch.empty(2, 3, 64, 64)
    names = block_names(model)
    with outputs_of(network, list(names.values())) as outputs:
        network(x)
    shapes = {name: tuple(block_features(outputs[path], "flat", "l2").shape) for name, path in names.items()}
    expected = {1: (3, 65_536), 2: (4, 32_768), 3: (6, 16_384), 4: (3, 8_192)}
    assert shapes == {
        f"Block{layer}.{block + 1}": (2, features)
        for layer, (blocks, features) in expected.items()
        for block in range(blocks)
    }
    assert sum(features for _, features in shapes.values()) == 450_560
    pooled = {name: block_features(outputs[path], "pooled", "l2").shape[1] for name, path in names.items()}
    assert [pooled[f"Block{layer}.1"] for layer in (1, 2, 3, 4)] == [256, 512, 1024, 2048]


def test_outputs_are_the_blocks_own_and_hooks_do_not_stay() -> None:
    network = build(SMALL, 3, stream(0, "initialisation")).eval()
    images, labels = small_images("test", 5)
    x = next(iter(plain_batches(images, labels, batch_size=5, mean=MEAN, std=STD, device=CPU).clean()))[0]
    with torch.no_grad(), outputs_of(network, list(block_names(SMALL).values())) as outputs:
        network(x)
        value = network.maxpool(network.relu(network.bn1(network.conv1(x))))
        for path in block_names(SMALL).values():  # a later block adds in place, but not to an earlier one's output
            value = network.get_submodule(path)(value)
            assert torch.equal(outputs[path], value)
    assert not any(module._forward_hooks for module in network.modules())


class InPlace(nn.Module):
    """A block that begins with a ReLU, in place on the output of the block before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.relu_())


def test_a_block_that_changes_its_input_in_place_leaves_the_output_before_it_as_it_was() -> None:
    torch.manual_seed(0)
    network, x = nn.Sequential(InPlace(), InPlace(), InPlace()), torch.rand(2, 3, 4, 4)
    with torch.no_grad(), outputs_of(network, ["0", "1", "2"]) as outputs:
        network(x)
        first = network[0](x)
        assert first.min() < 0
        assert torch.equal(outputs["0"], first)
        assert torch.equal(outputs["1"], network[1](first))


@pytest.mark.parametrize("weight", [1e38, math.nan])
def test_features_that_are_not_finite_are_refused(weight: float) -> None:
    network = build(SMALL, 3, stream(0, "initialisation")).eval()
    network.bn1.weight.data.fill_(weight)
    images, labels = small_images("test", 7)
    batches = plain_batches(images, labels, batch_size=3, mean=MEAN, std=STD, device=CPU)
    with pytest.raises(UserError, match="found features that are not finite"):
        pooled_features(network, batches)


def test_pooled_features_are_what_the_linear_layer_sees_in_packed_order() -> None:
    network = build(SMALL, 3, stream(0, "initialisation")).eval()
    images, labels = small_images("test", 7)
    batches = plain_batches(images, labels, batch_size=3, mean=MEAN, std=STD, device=CPU)
    features, found = pooled_features(network, batches)
    x = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network.fc(features), network(x))
    assert torch.equal(found, labels)


def test_rows_of_length_one_are_as_far_apart_as_their_angle() -> None:
    rows = torch.randn(6, 4, 3, 3, generator=stream(0, "test"))
    found = block_features(rows, "flat", "cosine")
    torch.testing.assert_close(found, normalize(rows.flatten(1), dim=1))
    angle = torch.arccos(found[0] @ found[1])
    gap = (found[0] - found[1]).square().sum()
    assert gap.item() == pytest.approx(2 - 2 * math.cos(angle), rel=1e-4)
    torch.testing.assert_close(block_features(rows, "pooled", "l2"), rows.flatten(2).mean(2))


def test_training_mode_and_augmented_images_are_refused() -> None:
    network = build(SMALL, 3, stream(0, "initialisation")).eval()
    require_evaluation_mode(network)
    network.layer3[0].bn1.train()
    with pytest.raises(ValueError, match="in training mode, expected eval"):
        require_evaluation_mode(network)
    data = small_data(small_run())
    require_plain(data.test)
    with pytest.raises(ValueError, match="augmented, expected plain"):
        require_plain(data.train)
