"""The compared methods: their numbers, what an epoch forgets as it begins, and the rule that each part follows in it.

A new method is a class with `options`, `forget` and `rules` (`Method`), the dataclass of its own numbers, and a line in
METHODS. An arm in params/paper.yaml names it and carries the numbers, which are checked by their annotations
(seal/options.py). The trainer asks a method before each epoch; seal/phases.py asks where its rules change.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol

from seal.clock import Clock
from seal.options import Epochs, Generation, Scale
from seal.rules import PARTS, Network, Rule, Rules, Values

if TYPE_CHECKING:
    from seal.sections import Run


class Method(Protocol):
    """What the training loop asks of a method. `options` is annotated with the dataclass of its numbers."""

    def __init__(self, run: "Run", options: Any) -> None: ...

    def forget(self, clock: Clock, network: Network) -> Values:
        """What is put in place of the network's values before this epoch; empty where nothing is forgotten."""

    def rules(self, clock: Clock) -> Rules:
        """The rule of each part in this epoch."""


def descend(run: "Run") -> Rule:
    return Rule(weight_decay=run.training.weight_decay)


@dataclass(frozen=True)
class NoOptions:
    """Of a method without numbers of its own."""


@dataclass(frozen=True)
class NormalLong:
    """Training on, without forgetting; `schedule` says whether the cosine restarts in each generation."""

    run: "Run"
    options: NoOptions

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        return dict.fromkeys(PARTS, descend(self.run))


@dataclass(frozen=True)
class Reinitialisation:
    """What LLF draws anew of the late side, and SEAL + Reinit, which follows it."""

    llf_reinitialises: Literal["weights", "all"]

    def of_late(self, network: Network) -> Values:
        """Weights are those of convolutions (downsample too) and fc: BatchNorm and fc bias are kept, as in the
        authors' code."""
        late = network.sides.late
        if self.llf_reinitialises == "all":
            return network.drawn(late)
        return network.drawn(name for name, value in late.items() if value.ndim > 1)


@dataclass(frozen=True)
class LLF:
    """Later-layer forgetting (Zhou et al. 2022): the late side is drawn anew as each later generation begins."""

    run: "Run"
    options: Reinitialisation

    def forget(self, clock: Clock, network: Network) -> Values:
        begins = clock.epoch == 0 and clock.generation > 1
        return self.options.of_late(network) if begins else {}

    def rules(self, clock: Clock) -> Rules:
        return dict.fromkeys(PARTS, descend(self.run))


@dataclass(frozen=True)
class Ascent:
    """When and how a side climbs (section 3)."""

    first_ascent_generation: Generation
    ascent_epochs: Epochs  # k
    ascent_lr_scale: Scale  # S
    ascent_weight_decay: Literal["adjusted", "off", "grow"]

    def ascends(self, clock: Clock) -> bool:
        """In the first k epochs of a generation (Eq. 3), from `first_ascent_generation` on."""
        return clock.generation >= self.first_ascent_generation and clock.epoch < self.ascent_epochs

    def rule(self, run: "Run") -> Rule:
        """Gradient ascent at S times the rate (Eq. 2).

        `adjusted` decay still shrinks the weights; `grow` is what a negative learning rate would do to g + wd*p, which
        the paper's section 3 names as a cause of divergence.
        """
        decay = {"adjusted": 1.0, "off": 0.0, "grow": -1.0}[self.ascent_weight_decay]
        return Rule(run.training.weight_decay * decay, lr_scale=self.ascent_lr_scale, maximize=True)


@dataclass(frozen=True)
class SEAL:
    """The paper's method (Eq. 3): in a generation's first k epochs the early side ascends, the late side descends."""

    run: "Run"
    options: Ascent

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        down = descend(self.run)
        early = self.options.rule(self.run) if self.options.ascends(clock) else down
        return {"early": early, "late": down, "fc": down}


@dataclass(frozen=True)
class AscentWithFreeze(Ascent):
    frozen_statistics: Literal["move", "hold"]


@dataclass(frozen=True)
class SEALFreeze:
    """Table 7, SEAL+Freeze: the late side is not stepped while the early side ascends."""

    run: "Run"
    options: AscentWithFreeze

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        if not self.options.ascends(clock):
            return dict.fromkeys(PARTS, descend(self.run))

        frozen = Rule(weight_decay=0.0, frozen=True, hold_statistics=self.options.frozen_statistics == "hold")
        return {"early": self.options.rule(self.run), "late": frozen, "fc": frozen}


@dataclass(frozen=True)
class AscentWithReinit(Reinitialisation, Ascent):
    """Both sides' numbers."""


@dataclass(frozen=True)
class SEALReinit:
    """Table 7, SEAL+Reinit: the late side is drawn anew, as LLF draws it, as the early side's ascent begins."""

    run: "Run"
    options: AscentWithReinit

    def forget(self, clock: Clock, network: Network) -> Values:
        begins = clock.epoch == 0 and self.options.ascends(clock)
        return self.options.of_late(network) if begins else {}

    def rules(self, clock: Clock) -> Rules:
        return SEAL(self.run, self.options).rules(clock)


@dataclass(frozen=True)
class AscentReversed(Ascent):
    reverse_fc: Literal["ascends", "descends"]


@dataclass(frozen=True)
class SEALReverse:
    """Table 7, SEAL+Reverse: the late side ascends, the early side descends; whether fc ascends is an option."""

    run: "Run"
    options: AscentReversed

    def forget(self, clock: Clock, network: Network) -> Values:
        return {}

    def rules(self, clock: Clock) -> Rules:
        down = descend(self.run)
        if not self.options.ascends(clock):
            return dict.fromkeys(PARTS, down)

        up = self.options.rule(self.run)
        return {"early": down, "late": up, "fc": up if self.options.reverse_fc == "ascends" else down}


METHODS: dict[str, type[Method]] = {
    "normal_long": NormalLong,
    "llf": LLF,
    "seal": SEAL,
    "seal_freeze": SEALFreeze,
    "seal_reinit": SEALReinit,
    "seal_reverse": SEALReverse,
}


def method_of(run: "Run") -> Method:
    """The run's method, with the numbers of the run's arm."""
    return METHODS[run.method](run, run.options)


def options_of(method: str) -> type:
    """The dataclass of that method's numbers."""
    return next(field.type for field in fields(METHODS[method]) if field.name == "options")  # type: ignore
