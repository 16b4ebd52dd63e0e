"""Whether a method fits a network, its numbers and its schedule: what does not is an error before an epoch is trained.

Knows methods, their options and names of parameters; seal/forgetting.py asks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from seal.clock import Clock, Course
from seal.errors import first_line
from seal.methods import METHODS, options_of
from seal.methods.method import Method
from seal.options import options_from
from seal.reinit import with_statistics
from seal.ruled_groups import COMPUTED, RuledGroups
from seal.rules import NetworkView, Rules, Values, weights_of
from seal.split import NORMALISATIONS, Sides
from seal.steps import Teacher


def method_named(name: str, course: Course, options: Mapping[str, Any]) -> Method:
    """The method of this name with its numbers. Raises ValueError for a name that is none, a course without an epoch,
    and for a number that is not its own, missing or out of its range."""
    for argument, count in (("generations", course.generations), ("epochs", course.epochs)):
        if count < 1:
            raise ValueError(f"{argument} is {count}, expected at least 1")
    if name not in METHODS:
        raise ValueError(f"method {name!r}, expected one of {', '.join(METHODS)}")

    kind = options_of(name)
    own = [field.name for field in fields(kind)]
    unknown = [option for option in options if option not in own]
    if unknown:
        raise ValueError(f"{name} has no option {unknown[0]}, expected of {', '.join(own) or 'none'}")
    return METHODS[name](course, options_from(kind, options, {"epochs_per_generation": course.epochs}))


def rehearse(
    method: Method, course: Course, groups: RuledGroups, view_at: Callable[[Clock, Values], NetworkView], begun: Values
) -> None:
    """Ask a method what it is going to be asked, up to where it first masks or forgets: what can't be done is said now,
    and not after a generation. `view_at(clock, kept)` is what it may look at as that epoch begins.

    Raises ValueError.
    """
    clocks = [*course.clocks()]
    asked: list[Rules] = []
    for rules in map(method.rules, clocks):
        if rules not in asked:
            asked.append(rules)
    if (toss := method.toss(clocks[0], [])) is not None:
        asked.append(toss.rules)
    for rules in asked:
        groups.check(rules)
    _rehearse_lessons(method, clocks, groups.model, begun)

    kept: Values = {}
    for clock in clocks:
        network = view_at(clock, kept)
        alive = method.alive(clock, network)
        groups.check_held(alive, "it is masked")
        if alive or method.forget(clock, network):
            return
        if method.keeps(clock):
            kept = begun


def _rehearse_lessons(method: Method, clocks: Iterable[Clock], model: nn.Module, begun: Values) -> None:
    """Make one teacher, where there is to be any: raises ValueError for a network that cannot be copied."""
    lessons = [lesson for lesson in map(method.lesson, clocks) if lesson is not None]
    if not lessons:
        return

    try:
        Teacher(model, begun, lessons[0])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # torch's of tensors, copy's of what cannot be pickled
        raise ValueError(
            f"the method learns from a copy of the network, which cannot be copied: {first_line(error)}; keep in the "
            "network what copy.deepcopy takes, or choose another method"
        ) from error


def trained(sides: Sides) -> Sides:
    """Without what its owner has frozen."""
    early = {name: value for name, value in sides.early.items() if value.requires_grad}
    late = {name: value for name, value in sides.late.items() if value.requires_grad}
    return Sides(early, late)


def frozen_by_owner(model: nn.Module) -> set[str]:
    """What is frozen, by each of its names; and the statistics of a normalisation whose scale is frozen."""
    parameters = model.named_parameters(remove_duplicate=False)
    return with_statistics(model, [name for name, value in parameters if not value.requires_grad])


@dataclass(frozen=True, kw_only=True)
class FittingView(NetworkView):
    """What a method may look at, of a network that is not ours: its weights are those of layers, or an error."""

    method: str
    model: nn.Module
    head: str | None  # the layer that gives the logits, whether it is trained or not

    @property
    def classifier(self) -> str:
        return f"{self.head}.weight" if self.head else ""

    @cached_property
    def weights(self) -> dict[str, nn.Parameter]:
        """Raises ValueError where they are not those of the layers alone: where a layer's is computed from others, or
        one is a normalisation's scale; and where there is none."""
        if computed := next(filter(COMPUTED.search, [*self.sides.early, *self.sides.late]), None):
            raise ValueError(
                f"{self.method} goes by the weights of layers, and one is computed from {computed}: remove weight_norm "
                "or what else does so, or choose another method"
            )

        weights = weights_of(self.sides)
        for owner, module in self.model.named_modules():
            if isinstance(module, NORMALISATIONS) and f"{owner}.weight" in weights:
                raise ValueError(
                    f"{self.method} goes by the weights of layers, and {owner}.weight is a {type(module).__name__}'s "
                    "scale, of two dimensions or more: freeze it, or choose another method"
                )
        if not weights:
            raise ValueError(
                f"{self.method} goes by the weights of layers, and no trained parameter of two dimensions or more has "
                "a name that ends in `weight`"
            )
        return weights


def drawn_of(method: str, model: nn.Module, fresh: Mapping[str, Tensor], names: Iterable[str]) -> Values:
    """Of a new network's state: these parameters, and the statistics of a normalisation whose scale is among them.

    Raises ValueError where it has one of another name or shape than the model.
    """
    state = model.state_dict()
    wanted = with_statistics(model, names) & state.keys()
    if lacking := sorted(wanted - fresh.keys()):
        raise ValueError(
            f"{method} draws {lacking[0]} anew, which the network of `fresh` has not: let it build the same, and give "
            "the model as it is within DistributedDataParallel (`.module`) or torch.compile (`._orig_mod`)"
        )

    for name in sorted(wanted):
        if fresh[name].shape != state[name].shape:
            shapes = f"{tuple(fresh[name].shape)}, expected the model's {tuple(state[name].shape)}"
            raise ValueError(f"{method} draws {name} anew, which in the network of `fresh` is {shapes}")
    return {name: value for name, value in fresh.items() if name in wanted}


def check_schedule(scheduler: LRScheduler) -> None:
    """Raises ValueError for one that is not stepped by epochs alone; torch makes no chain of such a one."""
    if isinstance(scheduler, ReduceLROnPlateau):
        raise ValueError(
            "`schedule` gives a ReduceLROnPlateau, which asks for a loss at each step: expected a scheduler that is "
            "stepped by epochs; step this one yourself, without `schedule`"
        )
