"""The two sides of a network, by position: early (before the layer threshold) and late (from it on)."""

from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


@dataclass(frozen=True)
class Split:
    """Name to parameter for each side; together every parameter once, in the model's order."""

    early: dict[str, nn.Parameter]
    late: dict[str, nn.Parameter]


def split_parameters(model: nn.Module, threshold: str) -> Split:
    """Split a model's parameters at the first of the module named `threshold` (Eq. 1; `layer3` is the paper's L = 23).

    Raises ValueError where the model has no such module, where that module has no parameters, where it is a
    normalisation (which stays on the side of its convolution), or where one side would be empty.
    """
    modules = dict(model.named_modules())
    if threshold not in modules or threshold == "":
        known = ", ".join(name for name, _ in model.named_children())
        raise ValueError(
            f"layer threshold {threshold!r}: the model has no such module, expected one of {known}, or inside them"
        )
    parameters = dict(model.named_parameters())
    inside = [name for name in parameters if name.startswith(threshold + ".")]
    if not inside:
        raise ValueError(f"layer threshold {threshold!r} has no parameters, expected a module that has")
    if isinstance(modules[inside[0].rpartition(".")[0]], _NormBase | nn.LayerNorm | nn.GroupNorm):
        raise ValueError(
            f"layer threshold {threshold!r} begins with a normalisation, which stays with its convolution: name that"
        )
    names = list(parameters)
    first = names.index(inside[0])
    if first == 0:
        raise ValueError(f"layer threshold {threshold!r} leaves no parameter before it, expected a later module")
    return Split(
        early={name: parameters[name] for name in names[:first]},
        late={name: parameters[name] for name in names[first:]},
    )
