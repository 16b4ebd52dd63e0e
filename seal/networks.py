"""Networks by name, beside this project's own: torchvision's, and one that a function in a reader's file builds.

The commands for people ask. A name that is wrong is answered with the nearest ones.
"""

import inspect
import runpy
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seal.errors import ConfigError, first_line, short
from seal.rng import torch_drawing_from

TORCHVISION = "torchvision:"


def build_named(name: str, options: Mapping[str, Any]) -> nn.Module:
    """An untrained network: `torchvision:resnet34`, `torchvision:VisionTransformer`, or `path/to/file.py:function`.

    `options` are keyword arguments of what builds it. A file is run. Raises ConfigError for a name that is none, a file
    or function that is not there, and options that do not fit.
    """
    if name.startswith(TORCHVISION):
        builder = _of_torchvision(name.removeprefix(TORCHVISION))
    elif ".py:" in name:
        builder = _of_file(*name.rsplit(":", 1))
    else:
        raise ConfigError(f"found network {name!r}, expected torchvision:NAME or path/to/file.py:function")

    try:
        network = builder(**options)
    except Exception as error:  # of a reader's file, or a bare assert of torchvision's
        told = short(", ".join(f"{key}={value}" for key, value in options.items())) or "no options"
        kind, reason = type(error).__name__, first_line(error)
        raise ConfigError(f"network {name} can't be built with {told}: {kind}: {reason}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"network {name} is a {type(network).__name__}, expected a torch.nn.Module")
    return network


def drawn_by_itself(name: str, options: Mapping[str, Any], num_classes: int, generator: torch.Generator) -> nn.Module:
    """The network with the values that its own constructor draws: a function of the generator's state alone."""
    with torch_drawing_from(generator):
        return build_named(name, {**options, "num_classes": num_classes})


@torch.no_grad()
def head_of(network: nn.Module, example: Tensor) -> str:
    """The name of the linear layer that gives the logits, by a pass of an example through a network in eval() mode.

    Raises ConfigError where no such layer runs last.
    """
    names: dict[nn.Module, str] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            names[module] = name
    calls: list[tuple[str, Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor) -> None:
        calls.append((names[module], inputs[0] if inputs else named["input"], output))

    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in names]
    try:
        logits = network(example)
    finally:
        for hook in hooks:
            hook.remove()

    if not isinstance(logits, Tensor) or logits.ndim != 2:
        kind = list(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ConfigError(f"the network gives {kind}, expected logits [images, classes]")
    if not calls or calls[-1][1].ndim != 2 or not torch.equal(calls[-1][2], logits):
        raise ConfigError("the network's logits are not what a torch.nn.Linear gives last, expected such a head")
    return calls[-1][0]


def normalisation_of(name: str) -> tuple[list[float], list[float]] | None:
    """Mean and deviation by which torchvision's own weights of that network see images; None where it has none."""
    from torchvision import models

    listed = name.removeprefix(TORCHVISION)
    if listed == name or listed not in models.list_models(module=models):
        return None
    shown = models.get_model_weights(listed).DEFAULT.transforms()
    return list(shown.mean), list(shown.std)


def _of_torchvision(name: str) -> Callable[..., nn.Module]:
    """A classifier that torchvision lists, without its weights; or a class of such."""
    from torchvision import models

    builders: dict[str, Callable[..., nn.Module]] = {
        listed: models.get_model_builder(listed) for listed in models.list_models(module=models)
    }
    builders |= {kind: cls for kind, cls in inspect.getmembers(models, inspect.isclass) if issubclass(cls, nn.Module)}
    if name not in builders:
        near = get_close_matches(name, builders, n=3) or ["resnet50", "vit_b_16"]
        raise ConfigError(f"torchvision has no network {name!r}, expected one such as {', '.join(near)}")
    return builders[name]


def _of_file(path: str, function: str) -> Callable[..., nn.Module]:
    if not Path(path).is_file():
        raise ConfigError(f"{path}: not found, expected a Python file with the function {function}")

    print(f"running {path}")
    try:
        names = runpy.run_path(path)
    except Exception as error:
        raise ConfigError(f"{path} can't be run: {type(error).__name__}: {error}") from error

    if not callable(builder := names.get(function)):
        functions = [name for name, value in names.items() if inspect.isfunction(value)]
        near = get_close_matches(function, functions, n=3) or functions[:3]
        raise ConfigError(f"{path} has no function {function}, expected one such as {', '.join(near) or 'def build()'}")
    return builder  # type: ignore[no-any-return]
