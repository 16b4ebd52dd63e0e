"""The compared methods: what an epoch forgets as it begins, and the rule that each part of the network follows in it.

A new method is a class with `forget` and `rules`, and a line in METHODS; params.yaml then names it in an arm.
Parts are groups of the optimizer: early (before the layer threshold), late (from it on, without the linear layer) and
fc, which follows late everywhere but in one variant of `seal_reverse`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from torch import Tensor, nn

from seal.clock import Clock, phase
from seal.config import ConfigError, Run
from seal.split import Sides

Part = Literal["early", "late", "fc"]
PARTS: tuple[Part, ...] = ("early", "late", "fc")
Values = Mapping[str, Tensor]  # by the name of a parameter, or of a statistic of BatchNorm


@dataclass(frozen=True)
class Rule:
    """How one part moves in an epoch: at lr_scale times the clock's rate, up or down the loss, or not at all."""

    weight_decay: float
    lr_scale: float = 1.0
    maximize: bool = False
    frozen: bool = False
    hold_statistics: bool = False
    untrained: tuple[str, ...] = ()


Rules = dict[Part, Rule]


@dataclass(frozen=True)
class Network:
    """What a method may look at as an epoch begins."""

    sides: Sides  # as the last epoch left them
    drawn: Callable[[Iterable[str]], Values]  # fresh values of the named parameters, by the run's initialiser


class Method(Protocol):
    """What the training loop asks of a method."""

    def forget(self, clock: Clock, network: Network) -> Values:
        """What is put in place of the network's values before this epoch; empty where nothing is forgotten."""

    def rules(self, clock: Clock) -> Rules:
        """The rule of each part in this epoch."""


def parts(sides: Sides) -> dict[Part, dict[str, nn.Parameter]]:
    """The two sides' parameters by part: the late side without the linear layer, and that apart."""
    fc = {name: value for name, value in sides.late.items() if name.startswith("fc.")}
    late = {name: value for name, value in sides.late.items() if name not in fc}
    return {"early": sides.early, "late": late, "fc": fc}


def descend(run: Run) -> Rule:
    return Rule(weight_decay=run.training.weight_decay)


def ascend(run: Run) -> Rule:
    """Gradient ascent at S times the rate (Eq. 2).

    `adjusted` decay still shrinks the weights; `grow` is what a negative learning rate would do to g + wd*p, which the
    paper's section 3 names as a cause of divergence.
    """
    decay = {"adjusted": 1.0, "off": 0.0, "grow": -1.0}[run.generations.ascent_weight_decay]
    return Rule(run.training.weight_decay * decay, lr_scale=run.generations.ascent_lr_scale, maximize=True)


@dataclass(frozen=True)
class NormalLong:
    """Training on, without forgetting; `schedule` says whether the cosine restarts in each generation."""

    run: Run

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        return dict.fromkeys(PARTS, descend(self.run))


@dataclass(frozen=True)
class LLF:
    """Later-layer forgetting (Zhou et al. 2022): the late side is drawn anew as each later generation begins."""

    run: Run

    def forget(self, clock: Clock, network: Network) -> Values:
        if clock.generation == 1 or clock.epoch > 0:
            return {}

        late = network.sides.late
        if self.run.generations.llf_reinitialises == "all":
            return network.drawn(late)
        # Convolutions (downsample too) and fc weights; BatchNorm and fc bias are kept, as in the authors' code.
        return network.drawn(name for name, value in late.items() if value.ndim > 1)

    def rules(self, clock: Clock) -> Rules:
        return dict.fromkeys(PARTS, descend(self.run))


@dataclass(frozen=True)
class SEAL:
    """The paper's method (Eq. 3): in a generation's first k epochs the early side ascends, the late side descends."""

    run: Run

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        down = descend(self.run)
        early = ascend(self.run) if phase(self.run, clock) == "ascent" else down
        return {"early": early, "late": down, "fc": down}


@dataclass(frozen=True)
class SEALFreeze:
    """Table 7, SEAL+Freeze: the late side is not stepped while the early side ascends."""

    run: Run

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        if phase(self.run, clock) == "descent":
            return dict.fromkeys(PARTS, descend(self.run))
        frozen = Rule(weight_decay=0.0, frozen=True, hold_statistics=self.run.generations.frozen_statistics == "hold")
        return {"early": ascend(self.run), "late": frozen, "fc": frozen}


@dataclass(frozen=True)
class SEALReinit:
    """Table 7, SEAL+Reinit: the late side is drawn anew as the early side's ascent begins."""

    run: Run

    def forget(self, clock: Clock, network: Network) -> Values:
        begins = clock.epoch == 0 and phase(self.run, clock) == "ascent"
        return network.drawn(network.sides.late) if begins else {}

    def rules(self, clock: Clock) -> Rules:
        # The authors' code leaves some late parameters untrained from then on; `reinit_untrained` names them.
        began = clock.generation >= self.run.generations.first_ascent_generation
        untrained = tuple(self.run.generations.reinit_untrained) if began else ()
        return {part: replace(rule, untrained=untrained) for part, rule in SEAL(self.run).rules(clock).items()}


@dataclass(frozen=True)
class SEALReverse:
    """Table 7, SEAL+Reverse: the late side ascends, the early side descends; whether fc ascends is a parameter."""

    run: Run

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        down = descend(self.run)
        if phase(self.run, clock) == "descent":
            return dict.fromkeys(PARTS, down)
        up = ascend(self.run)
        return {"early": down, "late": up, "fc": up if self.run.generations.reverse_fc == "ascends" else down}


METHODS: dict[str, Callable[[Run], Method]] = {
    "normal_long": NormalLong,
    "llf": LLF,
    "seal": SEAL,
    "seal_freeze": SEALFreeze,
    "seal_reinit": SEALReinit,
    "seal_reverse": SEALReverse,
}


def method_of(run: Run) -> Method:
    """The run's method. Raises ConfigError for a name that METHODS does not have."""
    if run.method not in METHODS:
        raise ConfigError(f"arms.{run.arm}.method is {run.method!r}, expected one of {', '.join(METHODS)}")
    return METHODS[run.method](run)
