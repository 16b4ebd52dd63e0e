"""Batched linear heads against torch.optim.SGD, episode by episode."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fewshot import plain_head
from eval.episodes import orders
from eval.heads import draw_heads, head_accuracy, train_heads
from seal.evaluations import FewShot
from seal.rng import stream
from tests.strategies import SMOKE
from tests.tolerances import FORMATS

pytestmark = pytest.mark.numerical

BENCHMARK = FewShot(**SMOKE["fewshot"])


@st.composite
def cases(draw: st.DrawFn) -> dict:
    protocol = {
        "epochs": draw(st.integers(1, 6)),
        "batch_size": draw(st.integers(1, 7)),
        "learning_rate": draw(st.sampled_from([0.01, 0.2])),
        "momentum": draw(st.sampled_from([0.0, 0.9])),
        "dampening": draw(st.sampled_from([0.0, 0.9])),
        "weight_decay": draw(st.sampled_from([0.0, 1e-3, 0.1])),
    }
    shape = [draw(st.integers(low, high)) for low, high in ((1, 4), (2, 5), (1, 4), (1, 40))]
    return {"protocol": BENCHMARK.model_copy(update=protocol), "shape": shape, "seed": draw(st.integers(0, 99))}


def trained(case: dict, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Heads as drawn, trained at once, and trained one by one in float64."""
    (episodes, n_way, k_shot, width), protocol, seed = case["shape"], case["protocol"], case["seed"]
    features = torch.rand(episodes, n_way * k_shot, width, dtype=dtype, generator=stream(seed, "features"))
    labels = torch.arange(n_way).repeat_interleave(k_shot)
    heads = draw_heads(seed, range(episodes), n_way, width).to(dtype)
    before = heads.clone()
    order = list(orders(seed, range(episodes), len(labels), protocol.epochs))
    batched = train_heads(features, labels, heads, order, protocol)
    assert torch.equal(heads, before), "the heads that were drawn are not changed"
    layers = [
        plain_head(features[e].double(), labels, heads[e].double(), [each[e] for each in order], protocol)
        for e in range(episodes)
    ]
    loop = torch.stack([torch.cat([layer.weight, layer.bias[:, None]], 1).detach() for layer in layers])
    return heads, batched, loop


@given(cases())
def test_batched_heads_in_float64_are_those_of_the_loop(case: dict) -> None:
    _, batched, loop = trained(case, torch.float64)
    torch.testing.assert_close(batched, loop, rtol=1e-11, atol=1e-11)


@given(cases())
def test_batched_heads_in_float32_are_as_near_as_the_steps_roundings_allow(case: dict) -> None:
    (_, n_way, k_shot, width), protocol = case["shape"], case["protocol"]
    _, batched, loop = trained(case, torch.float32)
    steps = protocol.epochs * -(-n_way * k_shot // protocol.batch_size)
    # A step adds rate / (1 - momentum) times slopes, each of products of `width`, or of S terms, below 1 + |W|.
    rounded = steps * (width + n_way * k_shot + 8) * FORMATS[torch.float32].unit_roundoff
    assert (batched - loop).abs().max() <= rounded * (1 + loop.abs().max())


def test_the_benchmarks_protocol_moves_the_heads_by_far_more_than_the_tolerances() -> None:
    drawn, batched, loop = trained({"protocol": BENCHMARK, "shape": [3, 5, 5, 64], "seed": 0}, torch.float32)
    assert (batched - drawn).abs().mean() > 0.05
    torch.testing.assert_close(batched.double(), loop, rtol=1e-4, atol=1e-5)


def test_a_head_is_drawn_as_torch_draws_a_linear_layer_and_by_its_own_seed() -> None:
    heads = draw_heads(3, range(50), 5, 64)
    assert torch.equal(heads[7], draw_heads(3, [7], 5, 64)[0])
    weights = torch.nn.Linear(64, 5000).weight
    assert heads.abs().max() <= 1 / 8
    assert heads.std() == pytest.approx(weights.std().item(), rel=0.02)
    assert abs(heads.mean()) < 0.001


def test_accuracy_is_the_share_of_queries_whose_own_class_scores_highest() -> None:
    features = torch.randn(4, 12, 6, generator=stream(0, "features"))
    labels, heads = torch.arange(3).repeat_interleave(4), draw_heads(0, range(4), 3, 6)
    expected = [
        (torch.nn.functional.linear(x, head[:, :-1], head[:, -1]).argmax(1) == labels).double().mean()
        for x, head in zip(features, heads, strict=True)
    ]
    assert head_accuracy(features, labels, heads).tolist() == [float(each) for each in expected]


def test_no_tensor_is_left_on_another_device() -> None:
    features, labels = torch.empty(2, 6, 8, device="meta"), torch.arange(3, device="meta").repeat_interleave(2)
    drawn = draw_heads(0, range(2), 3, 8).to("meta")
    heads = train_heads(features, labels, drawn, orders(0, range(2), 6, 2), BENCHMARK)
    assert head_accuracy(features, labels, heads).device.type == "meta"
