"""Initialisation of the networks, and re-initialisation of some of their parameters by the same rule."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Initialiser = Literal["model", "kaiming_uniform"]


def initialise(
    model: nn.Module, generator: torch.Generator, names: Iterable[str] | None = None, initialiser: Initialiser = "model"
) -> None:
    """Draw the named parameters of a model anew, or all of them, in the model's order.

    Weights of convolutions and linear layers: Kaiming-normal, fan-in (`model`, He et al. 2015), or
    Kaiming-uniform with a = sqrt(5) (`kaiming_uniform`, the authors' re-initialiser). BatchNorm: scale 1, shift 0,
    and running statistics 0 and 1 where its scale is drawn anew. Biases 0.
    Draws are made on the CPU, so every device starts from the same network. Raises ValueError for an unknown name.
    """
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters())
    wanted = parameters.keys() if names is None else set(names)
    if unknown := sorted(set(wanted) - parameters.keys()):
        raise ValueError(f"re-initialise {unknown[0]!r}: the model has no such parameter")
    with torch.no_grad():
        for name in (name for name in parameters if name in wanted):
            owner, kind = name.rpartition(".")[::2]
            module = modules[owner]
            parameters[name].copy_(_draw(module, kind, parameters[name].shape, generator, initialiser))
            if isinstance(module, _BatchNorm) and kind == "weight":
                module.reset_running_stats()


def _draw(
    module: nn.Module, kind: str, shape: torch.Size, generator: torch.Generator, initialiser: Initialiser
) -> torch.Tensor:
    value = torch.zeros(shape)
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
