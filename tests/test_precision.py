"""Autocast on a CPU: where torch's gradient is wrong it is refused, and nowhere else."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from seal.errors import ConfigError
from seal.precision import computing
from tests.small import CPU

WRONG: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": 1}


def stepped(images: tuple[int, int], precision: str = "bfloat16", **convolution: Any) -> nn.Conv2d:
    """A convolution with the gradient of its outputs' sum, of images of ones [2, 3, height, width]."""
    layer = nn.Conv2d(3, 4, **convolution)
    with computing(precision, CPU):
        outputs = layer(torch.ones(2, 3, *images))
    outputs.sum().backward()
    return layer


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        ((1, 1), {}),
        ((4, 1), {}),
        ((2, 2), {"stride": 3}),
        ((1, 1), {"kernel_size": 7, "padding": 3}),
        ((1, 1), {"groups": 1, "padding": (0, 1), "kernel_size": (1, 3)}),
    ],
    ids=str,
)
def test_a_gradient_of_what_was_never_written_is_refused(images: tuple[int, int], changes: dict[str, Any]) -> None:
    stride = changes.get("stride", 2)
    line = rf"^precision bfloat16: a convolution of stride {stride} meets images of width {images[1]}, .* float32"
    with pytest.raises(ConfigError, match=line):
        stepped(images, **WRONG | changes)
    assert not torch_module._global_forward_pre_hooks, "left in place"


@pytest.mark.parametrize(
    ("images", "changes"),
    [
        ((2, 2), {}),
        ((1, 2), {}),
        ((1, 1), {"stride": 1}),
        ((1, 1), {"kernel_size": 1, "padding": 0}),
        ((1, 1), {"stride": 1, "padding": "same"}),
        ((3, 3), {"stride": 3}),
    ],
    ids=str,
)
def test_other_gradients_are_right(images: tuple[int, int], changes: dict[str, Any]) -> None:
    rounded = stepped(images, "bfloat16", **WRONG | changes).weight.grad
    exact = stepped(images, "float32", **WRONG | changes).weight.grad
    assert rounded is not None
    assert exact is not None
    assert torch.equal(rounded, exact), "sums of ones have no rounding"


def test_what_takes_no_gradient_or_is_float32_is_let_through() -> None:
    layer = nn.Conv2d(3, 4, **WRONG)
    images = torch.ones(2, 3, 1, 1)
    with computing("bfloat16", CPU), torch.no_grad():
        layer(images)
    with computing("float32", CPU):
        layer(images).sum().backward()

    layer.requires_grad_(False)
    with computing("bfloat16", CPU):
        assert layer(images).dtype == torch.bfloat16
