"""The split of a network at a layer threshold."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from seal import split_parameters
from seal.models import ResNet
from seal.sections import Model

with torch.device("meta"):
    NETWORKS = {
        depth: ResNet(Model(depth=depth, width=64, stem="imagenet", classifier_bias="zero"), 200) for depth in (18, 50)
    }


def thresholds(network: nn.Module) -> list[str]:
    """Every module that `split_parameters` takes, in the model's order."""
    return [
        name
        for name, module in network.named_modules()
        if name not in ("", "conv1")
        and not isinstance(module, _BatchNorm)
        and next(module.parameters(), None) is not None
    ]


CASES = st.sampled_from([(depth, name) for depth, network in NETWORKS.items() for name in thresholds(network)])


@given(CASES)
def test_the_split_is_disjoint_complete_and_ordered(case: tuple[int, str]) -> None:
    network = NETWORKS[case[0]]
    split = split_parameters(network, case[1])
    joined = [*split.early.items(), *split.late.items()]
    expected = list(network.named_parameters())
    assert [name for name, _ in joined] == [name for name, _ in expected]
    assert all(mine is theirs for (_, mine), (_, theirs) in zip(joined, expected, strict=True))


@given(CASES, CASES)
def test_a_later_threshold_never_shrinks_the_early_side(one: tuple[int, str], other: tuple[int, str]) -> None:
    network = NETWORKS[one[0]]
    order = thresholds(network)
    if other[1] not in order:
        return
    first, second = sorted((one[1], other[1]), key=order.index)
    assert set(split_parameters(network, first).early) <= set(split_parameters(network, second).early)


@given(CASES)
def test_batchnorm_follows_its_convolution(case: tuple[int, str]) -> None:
    network = NETWORKS[case[0]]
    split = split_parameters(network, case[1])
    names = [name for name, _ in network.named_parameters()]
    for position, name in enumerate(names):
        if isinstance(network.get_submodule(name.rpartition(".")[0]), _BatchNorm):
            before = position - (1 if name.endswith("weight") else 2)
            assert (name in split.early) == (names[before] in split.early)


def test_layer3_is_the_papers_threshold() -> None:
    early = split_parameters(NETWORKS[50], "layer3").early
    counted = [name for name in early if "conv" in name]
    assert len(counted) == 22, "L = 23: 22 convolutions before it, downsample's not counted"
    assert len(early) == 72
    parameters = sum(value.numel() for value in NETWORKS[50].parameters())
    assert round(sum(value.numel() for value in early.values()) / parameters, 2) == 0.06


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ("layer9", "no such module, expected one of conv1, bn1"),
        ("", "no such module"),
        ("relu", "has no parameters"),
        ("layer3.0.bn1", "begins with a normalisation"),
        ("layer3.0.downsample.1", "begins with a normalisation"),
        ("conv1", "leaves no parameter before it"),
    ],
)
def test_a_threshold_that_cannot_split_is_refused(threshold: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split_parameters(NETWORKS[18], threshold)
