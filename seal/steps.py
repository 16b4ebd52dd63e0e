"""What a method may ask of the steps of an epoch beside its rules: masks, a teacher, and coins.

The trainer steps by it, and seal/forgetting.py in other people's loops.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from seal.clock import Clock, Course
from seal.reinit import put
from seal.rng import stream
from seal.rules import Toss


class Masks:
    """Which weights of a network live. The rest is zero, and so are its momentum and its gradients.

    `alive`: bool by parameter's name, on the parameters' device.
    """

    def __init__(self, model: nn.Module, alive: Mapping[str, Tensor]) -> None:
        parameters = dict(model.named_parameters())
        self.alive = {name: mask.to(parameters[name].device) for name, mask in alive.items()}

        # As numbers in the parameters' own memory layout: a bool one is converted in each step, and strides that differ
        # are slow to walk.
        self._parameters = [parameters[name] for name in self.alive]
        self._factors = [torch.empty_like(parameters[name]).copy_(mask) for name, mask in self.alive.items()]
        self._hooks: list[RemovableHandle] = []

    @torch.no_grad()
    def cut(self, optimizer: Optimizer) -> None:
        """Zero what does not live, and its momentum."""
        for parameter, factor in zip(self._parameters, self._factors, strict=True):
            parameter.mul_(factor)
            momentum = optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                momentum.mul_(factor)

    def follow(self, other: "Masks") -> None:
        """Take another's masks of the same parameters, in place: a captured step reads them where they are."""
        self.alive = other.alive
        for factor, new in zip(self._factors, other._factors, strict=True):
            factor.copy_(new)

    @torch.no_grad()
    def cut_gradients(self) -> None:
        """Zero the gradients of what does not live: it stays as it is, whatever momentum and decay."""
        gradients: list[Tensor] = []
        factors: list[Tensor] = []
        for parameter, factor in zip(self._parameters, self._factors, strict=True):
            if parameter.grad is not None:
                gradients.append(parameter.grad)
                factors.append(factor)

        if gradients:
            torch._foreach_mul_(gradients, factors)

    def hook(self) -> None:
        """Zero those gradients as soon as they are there, for a loop that clips or unscales them before its step."""
        for parameter, factor in zip(self._parameters, self._factors, strict=True):
            if not parameter.requires_grad:
                continue

            def cut(parameter: Tensor, factor: Tensor = factor) -> None:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

            self._hooks.append(parameter.register_post_accumulate_grad_hook(cut))  # type: ignore[no-untyped-call]

    def release(self) -> None:
        for hook in self._hooks:
            hook.remove()


class Teacher:
    """An earlier network that a lesson is learned from: in evaluation mode, and never changed.

    `values`: its whole state, by name; a copy of `model` takes them. `weight`: of its answers in the loss, up to 1;
    labels have the rest.
    """

    def __init__(self, model: nn.Module, values: Mapping[str, Tensor], weight: float) -> None:
        self.weight = weight
        self.network = _copied(model).requires_grad_(False).eval()
        put(self.network, values)

    def follow(self, other: "Teacher") -> None:
        """Take another's network of the same weight, in place."""
        put(self.network, other.network.state_dict())

    def loss(self, x: Tensor, logits: Tensor, of_labels: Tensor) -> Tensor:
        """Cross-entropy of the logits [B, classes] to the teacher's softmax of the images x, beside the labels' loss.

        Its gradient at the logits is (q - p) / B, where p is the teacher's and q the logits' softmax: in float32 where
        the logits are of half precision, in which rounding p would leave a gradient where p = q.
        """
        with torch.no_grad():
            answers = self.network(x).float().softmax(1)

        kind = torch.promote_types(logits.dtype, torch.float32)
        of_answers = cross_entropy(logits.to(kind), answers.to(kind))
        if self.weight == 1:
            return of_answers
        return self.weight * of_answers + (1 - self.weight) * of_labels


def _copied(model: nn.Module) -> nn.Module:
    """A copy of a network between passes. What its modules keep of one, as a layer its weight under torch's older
    weight_norm, torch copies only without its graph; the next pass computes it anew."""
    kept = tree_leaves([vars(module) for module in model.modules()])
    computed = [value for value in kept if isinstance(value, Tensor) and not value.is_leaf]
    return copy.deepcopy(model, {id(value): value.detach().clone() for value in computed})


def climbing_steps(course: Course, toss: Toss | None, clock: Clock, steps: int) -> list[bool]:
    """For each step of an epoch whether it follows the toss's rules: all coins by one draw on the CPU."""
    if toss is None:
        return [False] * steps
    coins = torch.rand(steps, generator=stream(course.seed, "toss", clock.generation, clock.epoch))
    return (coins < toss.chance).tolist()
