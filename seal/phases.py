"""Where a training's phases begin and end, and what follows from that.

A phase begins where the method's rules change. The history's `phase`, momentum that is cleared and measurements that
are due all ask here. Imports no torch: `seal plan` prices a training by it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from seal.clock import Clock, Course, course_of
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
    """The phases of one training, as its method's rules tell them."""

    course: Course
    method: Method

    def begins(self, clock: Clock) -> bool:
        """Whether the rules change before this epoch. What is no plain descent begins anew with each generation."""
        rules = self.method.rules(clock)
        if clock.epoch > 0:
            return rules != self.method.rules(Clock(clock.generation, clock.epoch - 1))
        if clock.generation == 1:
            return True

        last = Clock(clock.generation - 1, self.course.epochs - 1)
        return phase_of(rules) != "descent" or rules != self.method.rules(last)

    def ends(self, clock: Clock) -> bool:
        """Whether this epoch is the last of its phase, or of its generation."""
        return self.ends_generation(clock) or self.begins(Clock(clock.generation, clock.epoch + 1))

    def ends_generation(self, clock: Clock) -> bool:
        return clock.epoch == self.course.epochs - 1

    def clears_momentum(self, clock: Clock, forgot: bool) -> bool:
        """Whether momentum starts anew: the rate restarts, a phase begins, or something was forgotten."""
        if not self.course.reset_momentum or clock == Clock(1, 0):
            return False

        restarts = clock.epoch == 0 and self.course.rate_restarts
        return restarts or forgot or self.begins(clock)

    def is_plain(self, clock: Clock, base: Course) -> bool:
        """Whether in this epoch all parts descend at the rate of `base`, by the labels; nothing of it is kept."""
        method = self.method
        return (
            method.rules(clock) == dict.fromkeys(PARTS, descend(base))
            and self.course.rate(clock) == base.rate(clock)
            and method.lesson(clock) is None
            and method.toss(clock, ()) is None
            and not method.keeps(clock)
        )

    def first_generation_is_that_of(self, base: Course) -> bool:
        """Whether generation 1 is plain, which `base` trains once for all arms."""
        return all(self.is_plain(clock, base) for clock in base.clocks())


def may_share_generation_1(run: "Run", base: "Run", phases: Phases) -> bool:
    """Whether the run may go on from the base's end, as far as parameters and rules tell; seal/resume.py looks at what
    a method forgets and masks too."""
    from seal.sections import BASE_KEYS

    kept = all(getattr(run.generations, key) == getattr(base.generations, key) for key in BASE_KEYS)
    same = (run.model, run.training) == (base.model, base.training)
    return kept and same and phases.first_generation_is_that_of(course_of(base))
