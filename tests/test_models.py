"""The networks, their blocks' names and their initialisation."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, linear

from seal.models import Conv2d, ResNet, block_names, build
from seal.reinit import drawn, put
from seal.rng import stream
from seal.sections import Model

pytestmark = pytest.mark.numerical

SMALL = Model(depth=18, width=8, stem="small", classifier_bias="zero")


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_279_112), (50, 23_917_832)])
def test_the_networks_have_the_size_of_torchvisions(depth: int, parameters: int) -> None:
    import torchvision

    with torch.device("meta"):
        ours = ResNet(Model(depth=depth, width=64, stem="imagenet", classifier_bias="zero"), 200)
        theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=200)
    shapes = {name: value.shape for name, value in ours.state_dict().items()}
    assert shapes == {name: value.shape for name, value in theirs.state_dict().items()}
    assert sum(value.numel() for value in ours.parameters()) == parameters


@pytest.mark.parametrize("depth", [18, 50])
def test_the_networks_compute_what_torchvisions_do(depth: int) -> None:
    import torchvision

    ours = build(Model(depth=depth, width=64, stem="imagenet", classifier_bias="zero"), 7, stream(0, "test")).double()
    theirs = getattr(torchvision.models, f"resnet{depth}")(num_classes=7).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=stream(1, "test"), dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize(("inputs", "stride", "size"), [(512, 1, 2), (256, 2, 4), (256, 2, 3), (512, 1, 1)])
def test_a_convolution_as_a_product_is_the_convolution(
    inputs: int, stride: int, size: int, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    convolution = Conv2d(inputs, 512, 3, stride, padding=1, bias=False).double().to(memory_format=layout)
    x = torch.randn(3, inputs, size, size, dtype=torch.float64, generator=stream(0, "test"))
    products = []
    monkeypatch.setattr("seal.models.linear", lambda *inputs: products.append(1) or linear(*inputs))
    results = []
    for forward in (convolution, lambda x: conv2d(x, convolution.weight, stride=stride, padding=1)):
        leaf = x.contiguous(memory_format=layout).requires_grad_()
        y = forward(leaf)
        results.append((y, *torch.autograd.grad(y.square().sum(), (leaf, convolution.weight))))
    assert products == [1]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_parameters_are_registered_in_forward_order() -> None:
    network = ResNet(Model(depth=50, width=8, stem="imagenet", classifier_bias="zero"), 10)
    called: list[nn.Module] = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, *_: called.append(module))
    network(torch.zeros(2, 3, 64, 64))
    with_parameters = [module for module in called if list(module.parameters())]
    registered = [module for module in network.modules() if not list(module.children()) and list(module.parameters())]
    shortcuts = {id(module) for name, module in network.named_modules() if "downsample" in name}
    # A shortcut is registered behind its block's main path and called before or after it: compare without.
    assert [id(m) for m in with_parameters if id(m) not in shortcuts] == [
        id(m) for m in registered if id(m) not in shortcuts
    ]


def test_blocks_are_named_as_in_the_papers_figures() -> None:
    names = block_names(Model(depth=50, width=64, stem="imagenet", classifier_bias="zero"))
    assert len(names) == 16
    assert list(names)[:3] == ["Block1.1", "Block1.2", "Block1.3"]
    assert names["Block4.3"] == "layer4.2"
    network = ResNet(SMALL, 10)
    assert all(network.get_submodule(path) for path in block_names(SMALL).values())


def test_initialisation_is_a_function_of_the_stream_alone() -> None:
    torch.manual_seed(0)
    one = build(SMALL, 10, stream(3, "initialisation"))
    torch.manual_seed(1)
    two = build(SMALL, 10, stream(3, "initialisation"))
    other = build(SMALL, 10, stream(4, "initialisation"))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("initialiser", ["model", "kaiming_uniform"])
def test_convolutions_and_linear_weights_have_the_deviation_of_their_initialiser(initialiser: str) -> None:
    network = ResNet(Model(depth=18, width=32, stem="small", classifier_bias="zero"), 200)
    names = [name for name, _ in network.named_parameters()]
    put(network, drawn(network, stream(0, "test"), names, initialiser))  # type: ignore[arg-type]
    for name, value in network.named_parameters():
        if value.ndim == 1:
            assert torch.equal(value, torch.full_like(value, 0.0 if name.endswith("bias") else 1.0))
            continue
        fan_in = value[0].numel()
        # Kaiming-normal, gain sqrt(2): var 2/fan_in. Kaiming-uniform, a = sqrt(5), gain sqrt(1/3): var 1/(3 fan_in).
        expected = (2 / fan_in if initialiser == "model" else 1 / (3 * fan_in)) ** 0.5
        assert value.std().item() == pytest.approx(expected, rel=0.12)


def test_a_uniform_classifiers_bias_lies_within_one_over_the_root_of_its_features_and_moves_no_other_draw() -> None:
    uniform = SMALL.model_copy(update={"classifier_bias": "uniform"})
    zero, drawn_too = (build(model, 500, stream(0, "initialisation")) for model in (SMALL, uniform))
    features = drawn_too.fc.in_features
    assert drawn_too.fc.bias.abs().max() <= features**-0.5
    assert drawn_too.fc.bias.std().item() == pytest.approx((3 * features) ** -0.5, rel=0.1)

    moved = [
        name
        for (name, value), other in zip(drawn_too.named_parameters(), zero.parameters(), strict=True)
        if not torch.equal(value, other)
    ]
    assert moved == ["fc.bias"]


def test_only_the_named_parameters_are_drawn_anew_and_no_draw_repeats() -> None:
    network = build(SMALL, 10, stream(0, "initialisation"))
    network(torch.randn(4, 3, 16, 16))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    put(network, drawn(network, stream(0, "reinitialisation", 2), ["layer4.1.bn2.weight", "fc.weight"]))
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    statistics = {f"layer4.1.bn2.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed == {"fc.weight"} | statistics, "scale was 1 already; its statistics start anew"
    second = after["fc.weight"].clone()
    put(network, drawn(network, stream(0, "reinitialisation", 3), ["fc.weight"]))
    assert not torch.equal(second, network.fc.weight)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no such parameter"):
        drawn(ResNet(SMALL, 10), stream(0, "test"), ["fc.wait"])
