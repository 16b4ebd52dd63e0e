"""The split of a network at a layer threshold."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
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
        ("layer9", "no such module, expected one such as layer4"),
        ("", "no such module"),
        ("relu", "has no parameters"),
        ("layer3.0.bn1", "is a normalisation, which goes with what it follows"),
        ("layer3.0.downsample.1", "is a normalisation, which goes with what it follows"),
        ("conv1", "leaves no parameter before it"),
    ],
)
def test_a_threshold_that_cannot_split_is_refused(threshold: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        split_parameters(NETWORKS[18], threshold)


class Crossed(nn.Module):
    """Registered as one, two, three, and run as two, one, three; `scale` is used at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (
            nn.Linear(4, 4),
            nn.Linear(4, 4),
            nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4)),
        )
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.one(self.two(x))) * self.scale  # type: ignore[no-any-return]


def test_an_example_gives_the_order_of_execution() -> None:
    network, example = Crossed(), torch.zeros(1, 4)
    assert [*split_parameters(network, "two").early] == ["scale", "one.weight", "one.bias"]

    sides = split_parameters(network, "one", example)
    assert [*sides.early] == ["two.weight", "two.bias"]
    assert "scale" in sides.late
    with pytest.raises(ValueError, match="leaves no parameter before it"):
        split_parameters(network, "two", example)


def test_a_normalisation_opens_the_module_that_it_begins() -> None:
    assert "three.0.weight" in split_parameters(Crossed(), "three").late
    with pytest.raises(ValueError, match=r"'three\.0' is a normalisation"):
        split_parameters(Crossed(), "three.0")


def test_modes_and_statistics_are_as_before() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1).eval())
    split_parameters(network, "2", torch.ones(2, 3, 4, 4))
    assert [module.training for module in network] == [True, True, False]
    assert int(network[1].num_batches_tracked) == 0


def test_what_a_module_owns_beside_its_layers_is_told_by_an_example_alone() -> None:
    outer = nn.Sequential(nn.Linear(4, 4), Crossed())
    with pytest.raises(ValueError, match=r"'1' owns 1\.scale beside its layers, .* give an example"):
        split_parameters(outer, "1")
    assert [*split_parameters(outer, "1", torch.zeros(1, 4)).early] == ["0.weight", "0.bias"]


@pytest.mark.parametrize("example", [None, torch.zeros(1, 4)], ids=["registration", "execution"])
def test_weights_that_are_tied_across_the_sides_are_refused(example: Tensor | None) -> None:
    first, last = nn.Linear(4, 4), nn.Linear(4, 4)
    last.weight = first.weight
    network = nn.Sequential(first, nn.Linear(4, 4), last)
    with pytest.raises(ValueError, match=r"parameter 0\.weight is used on both sides of layer threshold '1'"):
        split_parameters(network, "1", example)


def test_a_module_that_runs_on_both_sides_is_refused() -> None:
    shared, middle = nn.Linear(4, 4), nn.Linear(4, 4)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared, self.middle = shared, middle

        def forward(self, x: Tensor) -> Tensor:
            return shared(middle(shared(x)))  # type: ignore[no-any-return]

    with pytest.raises(ValueError, match=r"shared\.bias is used on both sides"):
        split_parameters(Twice(), "middle", torch.zeros(1, 4))


def test_a_parameter_that_no_pass_uses_has_no_side() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network.register_module("aside", nn.Linear(1, 1))
    network.forward = lambda x: network[1](network[0](x))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"aside\.bias is not used by a forward pass"):
        split_parameters(network, "1", torch.zeros(1, 4))
