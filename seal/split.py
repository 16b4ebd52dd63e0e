"""The two sides of a network, by position: early (before the layer threshold) and late (from it on).

Knows names of parameters alone. The trainer splits its network by it, and so may anyone's own loop.
"""

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


@dataclass(frozen=True)
class Sides:
    """Name to parameter for each side; together every parameter once, in the model's order."""

    early: dict[str, nn.Parameter]
    late: dict[str, nn.Parameter]


def split_parameters(model: nn.Module, threshold: str) -> Sides:
    """Split a model's parameters at the first of the module named `threshold` (Eq. 1; `layer3` is the paper's L = 23).

    Raises ValueError where the model has no such module, where that module has no parameters, where it is a
    normalisation (which stays on the side of its convolution), or where one side would be empty.
    """
    parameters = list(model.named_parameters())
    first = _first_parameter(model, [name for name, _ in parameters], threshold)
    return Sides(early=dict(parameters[:first]), late=dict(parameters[first:]))


def _first_parameter(model: nn.Module, names: list[str], threshold: str) -> int:
    """The position of the late side's first parameter; raises ValueError where the threshold cannot split."""
    modules = dict(model.named_modules())
    if threshold not in modules or threshold == "":
        known = ", ".join(name for name, _ in model.named_children())
        raise ValueError(
            f"layer threshold {threshold!r}: the model has no such module, expected one of {known}, or inside them"
        )

    first = next((position for position, name in enumerate(names) if name.startswith(threshold + ".")), None)
    if first is None:
        raise ValueError(f"layer threshold {threshold!r} has no parameters, expected a module that has")

    if isinstance(modules[names[first].rpartition(".")[0]], _NormBase | nn.LayerNorm | nn.GroupNorm):
        raise ValueError(
            f"layer threshold {threshold!r} begins with a normalisation, which stays with its convolution: name that"
        )
    if first == 0:
        raise ValueError(f"layer threshold {threshold!r} leaves no parameter before it, expected a later module")
    return first
