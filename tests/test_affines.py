"""Packed episodes against two torch.optim.SGD on a copy of the network for each episode."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import DenseNet

from benchmarks.fewshot import Count, plain_affines
from eval.affines import EpisodeNorm, bytes_per_episode, packed, refuse_other_networks, refuse_single_values, tune
from eval.episodes import orders
from eval.heads import draw_heads
from seal.evaluations import FewShotAffines
from seal.models import ResNet, build
from seal.rng import stream
from seal.sections import Model
from tests.strategies import SMOKE

pytestmark = pytest.mark.numerical

PROTOCOL = FewShotAffines(**SMOKE["fewshot_affines"]).model_copy(update={"epochs": 2})
N_WAY, K_SHOT = 2, 3
# Where a channel hardly varies, BatchNorm divides its rounding by up to sqrt(eps) = 0.003, in layer after layer.
NEAR = 1e-8


def network(depth: int, stem: str, seed: int = 0) -> ResNet:
    """A network in float64 whose BatchNorms differ in scale and shift, and have the statistics of some images."""
    model = build(Model(depth=depth, width=2, stem=stem, classifier_bias="zero"), 3, stream(seed, "network")).double()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5, generator=stream(seed, "scale"))
            norm.bias.uniform_(-0.5, 0.5, generator=stream(seed, "shift"))
            norm.momentum = 1.0
        model.train()(torch.randn(8, 3, 64, 64, dtype=torch.float64, generator=stream(seed, "statistics")))
        for norm in norms:
            norm.momentum = 0.1
    return model.eval().requires_grad_(False)


def largest_difference(first: nn.Module, second: nn.Module) -> float:
    """Of two networks' weights and statistics."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


@settings(max_examples=6)
@given(
    st.sampled_from([(18, "small", 16), (50, "small", 32), (18, "imagenet", 64)]),
    st.sampled_from(["benchmark", "frozen"]),
    st.integers(1, 3),
    st.sampled_from([3, 4, 5]),
    st.integers(0, 99),
)
def test_packed_episodes_are_those_of_the_loop(
    kind: tuple[int, str, int], statistics: str, episodes: int, batch_size: int, seed: int
) -> None:
    depth, stem, size = kind
    model = network(depth, stem, seed)
    protocol = PROTOCOL.model_copy(update={"statistics": statistics, "batch_size": batch_size})
    labels, queries = torch.arange(N_WAY).repeat_interleave(K_SHOT), torch.arange(N_WAY).repeat_interleave(4)
    images = torch.randn(20, 3, size, size, dtype=torch.float64, generator=stream(seed, "images"))
    support = torch.stack([torch.randperm(20, generator=stream(seed, "support", e))[:6] for e in range(episodes)])
    query = torch.stack([torch.randperm(20, generator=stream(seed, "query", e))[:8] for e in range(episodes)])
    heads = draw_heads(seed, range(episodes), N_WAY, model.fc.in_features).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    order = list(orders(seed, range(episodes), 6, protocol.epochs))
    tuned = tune(model, images.__getitem__, support, labels, heads, order, protocol)
    accuracy = tuned.accuracy(images.__getitem__, query, queries, 3)
    norms = {name: norm for name, norm in tuned.model.named_modules() if isinstance(norm, EpisodeNorm)}
    assert len(norms) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for e in range(episodes):
        own_order = [epoch[e] for epoch in order]
        own, layer = plain_affines(model, images[support[e]], labels, heads[e], own_order, protocol)
        # By its batches' statistics ResNet-50 makes up to 1e-4 of an ulp of the images: such draws tell nothing.
        ulp_off = images[support[e]] * (1 + torch.finfo(images.dtype).eps)
        shifted, _ = plain_affines(model, ulp_off, labels, heads[e], own_order, protocol)
        assume(largest_difference(own, shifted) < NEAR / 1000)
        head = torch.cat([layer.weight, layer.bias[:, None]], 1)
        torch.testing.assert_close(tuned.heads[e], head, rtol=1e-7, atol=NEAR)
        for name, norm in norms.items():
            plain = own.get_submodule(name)
            for mine, theirs in (
                ("scale", "weight"),
                ("shift", "bias"),
                ("mean", "running_mean"),
                ("var", "running_var"),
            ):
                values = getattr(norm, mine).view(episodes, -1)[e]
                torch.testing.assert_close(values, getattr(plain, theirs), rtol=1e-7, atol=NEAR)
        predicted = layer(own.eval().features(images[query[e]])).argmax(1)
        assert accuracy[e] == (predicted == queries).double().mean()
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items()), "the network is not changed"


def test_training_moves_scales_shifts_and_in_benchmark_mode_statistics() -> None:
    model, labels = network(18, "small"), torch.arange(N_WAY).repeat_interleave(K_SHOT)
    images = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=stream(0, "images"))
    heads = draw_heads(0, [0], N_WAY, model.fc.in_features).double()
    for statistics in ("benchmark", "frozen"):
        protocol = PROTOCOL.model_copy(update={"statistics": statistics})
        tuned = tune(model, images.__getitem__, torch.arange(6)[None], labels, heads, orders(0, [0], 6, 2), protocol)
        assert (tuned.model.bn1.scale - model.bn1.weight).abs().max() > 1e-4
        assert torch.equal(tuned.model.bn1.mean, model.bn1.running_mean) == (statistics == "frozen")


@pytest.mark.parametrize(("sizes", "batch_size", "refused"), [([25], 4, True), ([24, 26], 4, False), ([6], 1, True)])
def test_batch_statistics_of_one_value_are_refused_before_the_start(
    sizes: list[int], batch_size: int, refused: bool
) -> None:
    model, image = network(18, "small"), torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    refuse_single_values(model, torch.zeros(1, 3, 16, 16, dtype=torch.float64), sizes, batch_size)  # maps of 2x2
    if refused:
        with pytest.raises(ValueError, match=r"feature maps of 1x1 and \d+ support images"):
            refuse_single_values(model, image, sizes, batch_size)
    else:
        refuse_single_values(model, image, sizes, batch_size)


def test_a_step_of_many_episodes_dispatches_as_many_operators_as_a_step_of_one() -> None:
    model, labels = network(18, "small"), torch.arange(N_WAY).repeat_interleave(2)
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=stream(0, "images"))

    def operators(episodes: int) -> int:
        heads = draw_heads(0, range(episodes), N_WAY, model.fc.in_features).double()
        order = list(orders(0, range(episodes), 4, 1))
        with Count() as count:
            tune(model, images.__getitem__, torch.arange(4).repeat(episodes, 1), labels, heads, order, PROTOCOL)
        return count.operators

    assert operators(5) == operators(2)


def test_the_memory_planned_for_an_episode_is_about_what_the_backward_pass_keeps() -> None:
    model = network(18, "small").float()
    few, many = (bytes_per_episode(model, torch.zeros(count, 3, 16, 16), 5, True) for count in (2, 4))
    # Stem and layer1 alone keep five convolutions' outputs and five activations of 2 channels, 16x16, for each image.
    assert many > 4 * 10 * 2 * 16 * 16 * 4
    assert 1.5 * few < many < 2 * few


def test_a_packed_network_trains_nothing_but_scales_and_shifts() -> None:
    copy: Any = packed(network(50, "small"), 3, True)
    kinds = {name.rpartition(".")[2] for name, each in copy.named_parameters() if each.requires_grad}
    assert kinds == {"scale", "shift"}


def test_no_tensor_is_left_on_another_device() -> None:
    model, images = network(18, "small").to("meta"), torch.empty(4, 3, 16, 16, dtype=torch.float64, device="meta")
    at, labels = torch.arange(4, device="meta").repeat(3, 1), torch.arange(2, device="meta").repeat_interleave(2)
    heads = draw_heads(0, range(3), N_WAY, model.fc.in_features).double().to("meta")
    tuned = tune(model, images.__getitem__, at, labels, heads, orders(0, range(3), 4, 2), PROTOCOL)
    assert tuned.accuracy(images.__getitem__, at, labels, 4).device.type == "meta"


def as_images(norm: nn.Module) -> nn.Module:
    """Of features [N, 4], by a module of images."""
    return nn.Sequential(nn.Unflatten(1, (4, 1, 1)), norm, nn.Flatten())


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        (nn.BatchNorm1d(4), "found norm, a BatchNorm1d"),
        (as_images(nn.BatchNorm2d(4, affine=False)), "found norm.1, a BatchNorm2d"),
        (as_images(nn.BatchNorm2d(4, track_running_stats=False)), "found norm.1, a BatchNorm2d"),
        (as_images(nn.BatchNorm2d(4, momentum=None)), "found norm.1, a BatchNorm2d"),
        (nn.Dropout(0.1), "does in training what it does not in evaluation"),
        (nn.LayerNorm(4), ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_batchnorm_of_an_episodes_images_is_refused(norm: nn.Module, words: str) -> None:
    """A neck after the pooling, say: in one packed batch it would go by all episodes' features together."""
    model = nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(3, 4, 3), bn=nn.BatchNorm2d(4), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), norm=norm
        )
    ).eval()
    images = torch.rand(2, 3, 8, 8, generator=stream(0, "images"))
    if words:
        with pytest.raises(ValueError, match=words):
            refuse_other_networks(model, images)
    else:
        refuse_other_networks(model, images)


@pytest.mark.parametrize("drop_rate", [0.2, 0.0])
def test_a_network_that_draws_in_training_is_refused(drop_rate: float) -> None:
    """Dropout is no module of torchvision's DenseNet, but a function that it calls."""
    model = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, drop_rate=drop_rate).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images = torch.rand(2, 3, 32, 32, generator=stream(0, "images"))
    if drop_rate:
        with pytest.raises(ValueError, match="does in training what it does not in evaluation"):
            refuse_other_networks(model, images)
    else:
        refuse_other_networks(model, images)
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
