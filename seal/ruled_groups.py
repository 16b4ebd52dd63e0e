"""An optimizer's groups under a method's rules, which change their numbers within a step alone.

What a schedule, a log or a scaler sees of a group between steps is what its owner has set. seal/forgetting.py asks.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from seal.errors import ConfigError
from seal.networks import head_of
from seal.optim import SignedSGD
from seal.rules import Part, Rule, Rules, Toss, parts, weights_of
from seal.split import Sides, evaluating, split_parameters

# Of what a weight is made where a layer has none of its own: by torch's parametrisations, and by its older weight_norm,
# spectral_norm and pruning.
COMPUTED = re.compile(r"weight(\.original\d*|_g|_orig)$")
CHANGED = ("lr", "weight_decay", "maximize")  # keys of a group
OWN_DECAY = 1.0  # a rule's decay is a multiple of the group's own
PLAIN = Rule(weight_decay=OWN_DECAY)  # which changes none of them


class RuledGroups:
    """Rules are those of parameters' parts; a group without a parameter of the model follows none."""

    def __init__(self, model: nn.Module, optimizer: SignedSGD, threshold: str, example: Tensor | None = None) -> None:
        self.model, self.optimizer, self.threshold, self.example = model, optimizer, threshold, example
        self._undo: list[Callable[[], object]] = []  # what the last rules froze
        self.rules: Rules | None = None
        self._own: list[tuple[dict[str, Any], dict[str, Any]]] = []  # groups and their numbers, in a step
        self._turned = False
        self.look()
        self._hooks = self._hooked()

    def begin(self, rules: Rules, toss: Toss | None, coins: torch.Generator) -> None:
        """Follow these rules from the next step on; by the toss's chance a step follows its rules instead."""
        self.put_back()
        self._hooks = self._hooks or self._hooked()
        self.rules, self.toss, self.coins = rules, toss, coins
        for part, parameters in self.parts.items():
            if rules[part].frozen:
                self._freeze(parameters, rules[part].hold_statistics)

    def let_go(self) -> None:
        """Follow no rules from here on: the optimizer and the network are as their owner has set them."""
        self.put_back()
        self.thaw()
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.rules = [], None

    def thaw(self) -> None:
        """Undo what the last rules froze, before others begin; what is frozen then, its owner has frozen."""
        for undo in self._undo:
            undo()
        self._undo = []

    def _hooked(self) -> list[RemovableHandle]:
        return [
            self.optimizer.register_step_pre_hook(lambda *_: self._before_step()),
            self.optimizer.register_step_post_hook(lambda *_: self.put_back()),
        ]

    def look(self) -> None:
        """Look at the model and at the groups anew, as either may have got parameters since. Of `sides` the late one
        ends with the head."""
        sides = split_parameters(self.model, self.threshold, self.example)
        self.head = self._head(sides)
        self.parts = parts(sides, classifier=self.head or "")

        self.part_of: dict[Tensor, Part] = {}
        for part, parameters in self.parts.items():
            self.part_of |= dict.fromkeys(parameters.values(), part)
        self.sides = Sides(self.parts["early"], self.parts["late"] | self.parts["fc"])

    def _head(self, sides: Sides) -> str | None:
        """The name of the layer that gives the logits: by a pass of the example where there is one, else the last that
        has a weight, or computes it. None where no linear layer does, or none has."""
        if self.example is None:
            weights = weights_of(sides)
            names = [name for name in (*sides.early, *sides.late) if name in weights or COMPUTED.search(name)]
            return names[-1].rpartition(".")[0].partition(".parametrizations")[0] if names else None

        with evaluating(self.model), suppress(ConfigError):
            return head_of(self.model, self.example)
        return None

    def check(self, rules: Rules) -> None:
        """Raises ValueError for what these rules would not move as they say: a part of a group otherwise than the rest,
        a head that is not known, a parameter that is in no group."""
        if self.head is None and rules["late"] != rules["fc"]:
            raise ValueError(
                "the head follows a rule of its own, and no linear layer of the network is known to give the logits: "
                "give such a network, with an example of its input"
            )

        for group in self.optimizer.param_groups:
            self._rule(group, rules)

        moved = [part for part, rule in rules.items() if rule != PLAIN and not rule.frozen]
        for part in moved:
            self.check_held(self.parts[part], f"its part, {part}, climbs or moves at another rate")

    def check_held(self, names: Iterable[str], why: str) -> None:
        """Raises ValueError where one of these parameters is trained and in no group of the optimizer."""
        held = set(chain.from_iterable(group["params"] for group in self.optimizer.param_groups))
        parameters = dict(self.model.named_parameters())
        for name in names:
            if parameters[name].requires_grad and parameters[name] not in held:
                raise ValueError(
                    f"{name} is in no group of the optimizer, and by this method {why}: give it a group, or freeze it"
                )

    def _rule(self, group: dict[str, Any], rules: Rules) -> Rule | None:
        held = dict.fromkeys(self.part_of[p] for p in group["params"] if p in self.part_of)
        followed = [rules[part] for part in held]
        if any(rule != followed[0] for rule in followed):
            cure = f"make groups of what split_parameters gives for {self.threshold}"
            if "fc" in held and rules["fc"] != rules["late"]:
                cure += f", and one of the parameters of {self.head} (fc) alone"
            raise ValueError(
                f"a group of the optimizer holds parameters of {', '.join(held)}, which follow different rules: {cure}"
            )
        return followed[0] if followed else None

    def _freeze(self, parameters: dict[str, nn.Parameter], hold_statistics: bool) -> None:
        for parameter in parameters.values():
            if parameter.requires_grad:
                parameter.requires_grad_(False).grad = None
                self._undo.append(parameter.requires_grad_)

        owners = {self.model.get_submodule(name.rpartition(".")[0]) for name in parameters}
        for owner in owners:
            if hold_statistics and isinstance(owner, _BatchNorm):
                owner.eval()  # a compiled network sees this alone, no hook that came later
                self._undo.append(partial(_release, owner, self.model))
                self._undo.append(owner.register_forward_pre_hook(_hold).remove)

    def _before_step(self) -> None:
        self.put_back()
        if self.rules is None:
            return

        rules = self.rules
        if self.toss is not None and float(torch.rand((), generator=self.coins)) < self.toss.chance:
            rules, self._turned = self.toss.rules, self.toss.turns_momentum
        if self._turned:
            self.optimizer.turn_momentum()

        for group in self.optimizer.param_groups:
            own = {key: group[key] for key in CHANGED}
            self._own.append((group, own))
            rule = self._rule(group, rules)
            if rule is not None:
                group.update(
                    lr=own["lr"] * rule.lr_scale,
                    weight_decay=own["weight_decay"] * rule.weight_decay,
                    maximize=own["maximize"] != rule.maximize,
                )

    def put_back(self) -> None:
        """Give the groups their own numbers again: after a step, and after one that raised before the next begins,
        as torch calls no hook then."""
        for group, own in self._own:
            group.update(own)
        self._own = []

        if self._turned:
            self._turned = False
            self.optimizer.turn_momentum()


def numbers_of(group: dict[str, Any]) -> dict[str, Any]:
    """All of a group but its parameters, in memory of its own."""
    numbers: dict[str, Any] = {}
    for key, value in group.items():
        if key != "params":
            numbers[key] = value.clone() if isinstance(value, Tensor) else value
    return numbers


def put_numbers(group: dict[str, Any], numbers: Mapping[str, Any]) -> None:
    """Into a group, whose rate keeps its place where it is a tensor, as under torch's schedulers."""
    rate = group["lr"]
    group.update(numbers)
    group["lr"] = rate.fill_(float(numbers["lr"])) if isinstance(rate, Tensor) else float(numbers["lr"])


def _release(norm: nn.Module, model: nn.Module) -> None:
    """Into the mode of the whole, which its owner may have changed since."""
    norm.train(model.training)


def _hold(norm: nn.Module, inputs: object) -> None:
    """Before each pass: a loop may call model.train() when it likes."""
    norm.eval()
