"""The two sides of a network, by position: early (before the layer threshold) and late (from it on).

Knows modules and names of parameters alone. The trainer splits its network by it, and so may anyone's own loop.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class Sides:
    """Name to parameter for each side, in the model's order; together every parameter once."""

    early: dict[str, nn.Parameter]
    late: dict[str, nn.Parameter]


def split_parameters(model: nn.Module, threshold: str, example: Tensor | None = None) -> Sides:
    """Split a model's parameters at the module named `threshold` (Eq. 1; `layer3` is the paper's L = 23).

    With an `example` of its input by the order in which a forward pass uses parameters, else by that of registration,
    in which what a module owns beside its layers comes before them: right of a class token and of position embeddings,
    wrong of a layer scale. The late side begins at the module's first layer. A normalisation goes with what it follows,
    but opens a module of several layers that begins with it, as in a network that normalises first.

    Raises ValueError where the model has no such module, where that has no layer but normalisations, where a parameter
    is used on both sides or not at all, where no parameter comes before, and where only an example could tell.
    """
    parameters = dict(model.named_parameters())
    layers = _layers(model, threshold)
    beside = [name for name in parameters if _owner(name) == threshold and name not in layers]
    if example is None and beside:
        raise ValueError(
            f"layer threshold {threshold!r} owns {beside[0]} beside its layers, and registration does not tell on "
            "which side: give an example of the input"
        )

    order = _registered(model) if example is None else _used(model, example)
    if unused := sorted(parameters.keys() - set(order)):
        raise ValueError(f"parameter {unused[0]} is not used by a forward pass of the example, so it has no side")

    start = min(place for place, name in enumerate(order) if name in layers)
    early, late = {*order[:start]}, {*order[start:]}
    if tied := sorted(early & late):
        raise ValueError(f"parameter {tied[0]} is used on both sides of layer threshold {threshold!r}, expected on one")
    if not early:
        raise ValueError(f"layer threshold {threshold!r} leaves no parameter before it, expected a later module")

    return Sides(
        early={name: value for name, value in parameters.items() if name in early},
        late={name: value for name, value in parameters.items() if name in late},
    )


def _layers(model: nn.Module, threshold: str) -> set[str]:
    """The parameters of the threshold's layers; raises ValueError where it has none that can begin a side."""
    modules = dict(model.named_modules())
    if threshold not in modules or threshold == "":
        near = get_close_matches(threshold, modules, n=3) or [name for name, _ in model.named_children()]
        raise ValueError(
            f"layer threshold {threshold!r}: the model has no such module, expected one such as {', '.join(near)}"
        )

    module = modules[threshold]
    if not has_parameters(module):
        raise ValueError(f"layer threshold {threshold!r} has no parameters, expected a module that has")

    owners = [part for part in module.modules() if _is_layer(part)]
    if all(isinstance(owner, NORMALISATIONS) for owner in owners):
        raise ValueError(
            f"layer threshold {threshold!r} is a normalisation, which goes with what it follows: name the module "
            "before or after it"
        )

    held: set[int] = set()
    for owner in owners:
        held.update(map(id, owner.parameters(recurse=False)))
    return {name for name, value in model.named_parameters() if id(value) in held}


def _is_layer(module: nn.Module) -> bool:
    """Whether it computes with parameters of its own: a layer of torch's, or any module without others that do."""
    if not has_parameters(module, recurse=False):
        return False
    return type(module).__module__.startswith("torch.nn.") or not any(map(has_parameters, module.children()))


def has_parameters(module: nn.Module, recurse: bool = True) -> bool:
    return next(module.parameters(recurse), None) is not None


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]


def _registered(model: nn.Module) -> list[str]:
    """Parameters' names in the order of registration; of one that is tied, its first name again."""
    names = _names_by_id(model)
    return [names[id(value)] for _, value in model.named_parameters(remove_duplicate=False)]


def _names_by_id(model: nn.Module) -> dict[int, str]:
    return {id(value): name for name, value in model.named_parameters()}


class _Uses(TorchFunctionMode):
    """Notes which of the named tensors every function of torch is given."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names, self.order = names, list[str]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") != "__get__":  # a look at a tensor's shape or dtype is no use
            for value in tree_leaves((args, kwargs)):
                if id(value) in self.names:
                    self.order.append(self.names[id(value)])
        return func(*args, **(kwargs or {}))


def _used(model: nn.Module, example: Tensor) -> list[str]:
    """Parameters' names in the order in which a forward pass in evaluation mode uses them; one may come again."""
    uses = _Uses(_names_by_id(model))
    with evaluating(model), torch.no_grad(), uses:
        model(example)
    return uses.order


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """A network in evaluation mode, each module of which is as it was afterwards."""
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
