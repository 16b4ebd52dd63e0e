"""Where a training's phases begin and end, and what follows from that.

A phase begins where the method's rules change. The history's `phase`, momentum that is cleared and measurements that
are due all ask here. Imports no torch: `seal plan` prices a training by it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seal.clock import Clock, clocks, learning_rate
from seal.methods import Method, descend
from seal.rules import PARTS, Rules

if TYPE_CHECKING:
    from seal.sections import Run

Phase = Literal["ascent", "hold", "descent"]


def phase_of(rules: Rules) -> Phase:
    """`ascent` where some part climbs, `hold` where none climbs and some is not stepped, else `descent`."""
    if any(rule.maximize for rule in rules.values()):
        return "ascent"
    if any(rule.frozen for rule in rules.values()):
        return "hold"
    return "descent"


@dataclass(frozen=True)
class Phases:
    """The phases of one run, as its method's rules tell them."""

    run: "Run"
    method: Method

    def begins(self, clock: Clock) -> bool:
        """Whether the rules change before this epoch. What is no plain descent begins anew with each generation."""
        rules = self.method.rules(clock)
        if clock.epoch > 0:
            return rules != self.method.rules(Clock(clock.generation, clock.epoch - 1))
        if clock.generation == 1:
            return True

        last = Clock(clock.generation - 1, self.run.training.epochs_per_generation - 1)
        return phase_of(rules) != "descent" or rules != self.method.rules(last)

    def ends(self, clock: Clock) -> bool:
        """Whether this epoch is the last of its phase, or of its generation."""
        return self.ends_generation(clock) or self.begins(Clock(clock.generation, clock.epoch + 1))

    def ends_generation(self, clock: Clock) -> bool:
        return clock.epoch == self.run.training.epochs_per_generation - 1

    def clears_momentum(self, clock: Clock, forgot: bool) -> bool:
        """Whether momentum starts anew: the rate restarts, a phase begins, or something was forgotten."""
        if not self.run.generations.reset_momentum or clock == Clock(1, 0):
            return False

        restarts = clock.epoch == 0 and self.run.generations.schedule == "per_generation"
        return restarts or forgot or self.begins(clock)

    def first_generation_is_that_of(self, base: "Run") -> bool:
        """Whether generation 1 descends with all parts at the rates of `base`, which trains it once for all arms."""
        plain = dict.fromkeys(PARTS, descend(base))
        return all(
            self.method.rules(clock) == plain and learning_rate(self.run, clock) == learning_rate(base, clock)
            for clock in clocks(base)
        )
