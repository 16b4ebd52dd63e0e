"""Values of a network's parameters, drawn anew, and putting values in place.

Knows tensors and modules alone. Networks begin by it (`seal.models.build`), and methods that forget draw by it.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

Initialiser = Literal["model", "kaiming_uniform"]
Bias = Literal["zero", "uniform"]


def initialise(model: nn.Module, generator: torch.Generator, bias: Bias = "zero") -> None:
    """Draw all parameters of a model, as each of its runs begins."""
    all_names = dict(model.named_parameters())
    put(model, drawn(model, generator, all_names, bias=bias))


def drawn(
    model: nn.Module,
    generator: torch.Generator,
    names: Iterable[str],
    initialiser: Initialiser = "model",
    bias: Bias = "zero",
) -> dict[str, Tensor]:
    """Values for the named parameters, drawn anew in the model's order whatever the order of the names.

    Weights of convolutions and linear layers: Kaiming-normal, fan-in (`model`, He et al. 2015), or
    Kaiming-uniform with a = sqrt(5) (`kaiming_uniform`, the authors' re-initialiser). BatchNorm: scale 1, shift 0,
    and with its scale come running statistics of 0 and 1. Biases of linear layers: 0 (`zero`), or uniform within
    1 / sqrt(features), as torch's own begin (`uniform`).
    Draws are made on the CPU, so every device starts from the same network. Raises ValueError for an unknown name.
    """
    modules = dict(model.named_modules())
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    wanted = set(names)
    if unknown := sorted(wanted - shapes.keys()):
        raise ValueError(f"re-initialise {unknown[0]!r}: the model has no such parameter")

    values = {}
    for name, shape in shapes.items():
        if name not in wanted:
            continue
        owner, _, kind = name.rpartition(".")
        values[name] = _draw(modules[owner], kind, shape, generator, initialiser, bias)
        if kind == "weight" and isinstance(modules[owner], _BatchNorm):
            values |= _statistics(owner, shape)
    return values


def with_statistics(model: nn.Module, names: Iterable[str]) -> set[str]:
    """These names of parameters, and of the running statistics of each normalisation whose scale is among them."""
    wanted = set(names)
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and f"{name}.weight" in wanted:
            wanted |= {f"{name}.{statistic}" for statistic, _ in module.named_buffers(recurse=False)}
    return wanted


@torch.no_grad()
def put(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Write values over those of a model's state, in place: its tensors keep their device and strides."""
    state = model.state_dict()
    for name, value in values.items():
        state[name].copy_(value)


def _statistics(norm: str, shape: torch.Size) -> dict[str, Tensor]:
    return {
        f"{norm}.running_mean": torch.zeros(shape),
        f"{norm}.running_var": torch.ones(shape),
        f"{norm}.num_batches_tracked": torch.tensor(0),
    }


def _draw(
    module: nn.Module, kind: str, shape: torch.Size, generator: torch.Generator, initialiser: Initialiser, bias: Bias
) -> Tensor:
    value = torch.zeros(shape)
    if kind == "bias" and isinstance(module, nn.Linear) and bias == "uniform":
        limit = module.in_features**-0.5
        return value.uniform_(-limit, limit, generator=generator)
    if kind == "bias":
        return value
    if isinstance(module, _BatchNorm):
        return value.fill_(1.0)
    if not isinstance(module, nn.Conv2d | nn.Linear):
        raise ValueError(
            f"no initialiser for {type(module).__name__}, expected a convolution, a linear layer or BatchNorm"
        )

    if initialiser == "model":
        return nn.init.kaiming_normal_(value, mode="fan_in", nonlinearity="relu", generator=generator)
    return nn.init.kaiming_uniform_(value, a=5**0.5, generator=generator)
