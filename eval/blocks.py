"""The blocks of a network from elsewhere, from first to last, as prediction depth asks for them.

A forward pass of an example tells them, as modules may be registered in another order than they run.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from seal.errors import UserError
from seal.split import has_parameters


def blocks_in_order(network: nn.Module, example: Tensor) -> list[str]:
    """The names of the network's blocks, in the order in which they run.

    Blocks are the outermost modules that hold layers and whose class, not one of torch.nn's, occurs more than once:
    what an architecture repeats is what its authors call a block. Raises UserError where there are none, and where
    they do not run in one order: depth needs each to see the image through the block before it alone.
    """
    names = _repeated(network)
    modules = {network.get_submodule(name): name for name in names}
    passed: list[tuple[str, Tensor]] = []  # each block's output, cut off from what is before it

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if passed:
            _follows(modules[module], inputs[0], passed)

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Tensor:
        name = modules[module]
        if not isinstance(output, Tensor):
            raise UserError(f"prediction_depth: block {name} gives {_words(output)}, expected a tensor")
        if name in dict(passed):
            raise UserError(f"prediction_depth: block {name} runs twice, expected blocks that run in one order")
        passed.append((name, output.detach().requires_grad_()))
        return passed[-1][1].clone()  # a copy, which may be changed in place

    hooks = [module.register_forward_pre_hook(before) for module in modules]
    hooks += [module.register_forward_hook(after) for module in modules]
    try:
        with torch.enable_grad():
            logits = network(example)
            if passed:
                _follows("the head", logits, passed)
    finally:
        for hook in hooks:
            hook.remove()

    if len(passed) < 2:
        raise UserError(
            "prediction_depth: the network has no blocks: no class of module that holds layers occurs twice"
        )
    return [name for name, _ in passed]


def _repeated(network: nn.Module) -> list[str]:
    """The outermost modules of classes that occur more than once, hold layers and are not torch.nn's."""

    def holds_layers(module: nn.Module) -> bool:
        ours = not type(module).__module__.startswith("torch.nn.")
        return ours and any(map(has_parameters, module.children()))

    kinds = Counter(type(module) for module in network.modules() if holds_layers(module))
    outermost: list[str] = []
    for name, module in network.named_modules():  # a module comes before those within it
        inside = any(name.startswith(f"{outer}.") for outer in outermost)
        if name and not inside and kinds[type(module)] > 1:
            outermost.append(name)
    return outermost


def _follows(name: str, value: Tensor, passed: list[tuple[str, Tensor]]) -> None:
    """Raises UserError unless a value depends on the last block's output, and on no earlier one beside it."""
    *earlier, (last, _) = passed
    outputs = [output for _, output in passed]
    depends: list[Tensor | None] = [None] * len(outputs)
    if value.requires_grad:
        depends = [*torch.autograd.grad(value.sum(), outputs, retain_graph=True, allow_unused=True)]
    if depends[-1] is None:
        raise UserError(
            f"prediction_depth: {name} does not follow on {last}, which runs before it; expected blocks in one order"
        )
    for (around, _), slope in zip(earlier, depends, strict=False):
        if slope is not None:
            raise UserError(
                f"prediction_depth: {name} sees {around} past {last}, which runs between; expected blocks in one order"
            )


def _words(value: object) -> str:
    return f"a tensor of {value.ndim} dimensions" if isinstance(value, Tensor) else f"a {type(value).__name__}"
