"""The paper's methods: training on, later-layer forgetting, SEAL, and SEAL's ablations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from seal.clock import Clock, Course
from seal.methods.method import Method, NoOptions, descend, descending
from seal.options import Epochs, Generation, Scale
from seal.rules import PARTS, NetworkView, Rule, Rules, Values


def normal_long(course: Course, options: NoOptions) -> Method:
    """Training on, without forgetting; `schedule` says whether the cosine restarts in each generation."""
    return Method(descending(course))


@dataclass(frozen=True)
class Reinitialisation:
    """What LLF draws anew of the late side, and SEAL + Reinit, which follows it."""

    llf_reinitialises: Literal["weights", "all"]

    def of_late(self, network: NetworkView) -> Values:
        """Weights are those of convolutions (downsample too) and fc: BatchNorm and fc bias are kept, as in the
        authors' code."""
        late = network.sides.late
        if self.llf_reinitialises == "all":
            return network.drawn(late)
        return network.drawn(name for name in network.weights if name in late)


def llf(course: Course, options: Reinitialisation) -> Method:
    """Later-layer forgetting (Zhou et al. 2022): the late side is drawn anew as each later generation begins."""

    def forget(clock: Clock, network: NetworkView) -> Values:
        return options.of_late(network) if clock.begins_later_generation else {}

    return Method(descending(course), forget)


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

    def rule(self, course: Course) -> Rule:
        """Gradient ascent at S times the rate (Eq. 2).

        `adjusted` decay still shrinks the weights; `grow` is what a negative learning rate would do to g + wd*p, which
        the paper's section 3 names as a cause of divergence.
        """
        decay = {"adjusted": 1.0, "off": 0.0, "grow": -1.0}[self.ascent_weight_decay]
        return Rule(course.weight_decay * decay, lr_scale=self.ascent_lr_scale, maximize=True)


def seal(course: Course, options: Ascent) -> Method:
    """The paper's method (Eq. 3): in a generation's first k epochs the early side ascends, the late side descends."""

    def rules(clock: Clock) -> Rules:
        down = descend(course)
        early = options.rule(course) if options.ascends(clock) else down
        return {"early": early, "late": down, "fc": down}

    return Method(rules)


@dataclass(frozen=True)
class AscentWithFreeze(Ascent):
    frozen_statistics: Literal["move", "hold"]


def seal_freeze(course: Course, options: AscentWithFreeze) -> Method:
    """Table 7, SEAL+Freeze: the late side is not stepped while the early side ascends."""

    def rules(clock: Clock) -> Rules:
        if not options.ascends(clock):
            return dict.fromkeys(PARTS, descend(course))

        frozen = Rule(weight_decay=0.0, frozen=True, hold_statistics=options.frozen_statistics == "hold")
        return {"early": options.rule(course), "late": frozen, "fc": frozen}

    return Method(rules)


@dataclass(frozen=True)
class AscentWithReinit(Reinitialisation, Ascent):
    """Both sides' numbers."""


def seal_reinit(course: Course, options: AscentWithReinit) -> Method:
    """Table 7, SEAL+Reinit: the late side is drawn anew, as LLF draws it, as the early side's ascent begins."""

    def forget(clock: Clock, network: NetworkView) -> Values:
        begins = clock.epoch == 0 and options.ascends(clock)
        return options.of_late(network) if begins else {}

    return Method(seal(course, options).rules, forget)


@dataclass(frozen=True)
class AscentReversed(Ascent):
    reverse_fc: Literal["ascends", "descends"]


def seal_reverse(course: Course, options: AscentReversed) -> Method:
    """Table 7, SEAL+Reverse: the late side ascends, the early side descends; whether fc ascends is an option."""

    def rules(clock: Clock) -> Rules:
        down = descend(course)
        if not options.ascends(clock):
            return dict.fromkeys(PARTS, down)

        up = options.rule(course)
        return {"early": down, "late": up, "fc": up if options.reverse_fc == "ascends" else down}

    return Method(rules)


METHODS: dict[str, Callable[[Course, Any], Method]] = {
    "normal_long": normal_long,
    "llf": llf,
    "seal": seal,
    "seal_freeze": seal_freeze,
    "seal_reinit": seal_reinit,
    "seal_reverse": seal_reverse,
}
