"""Simulated annealing in all layers: steps that climb by chance."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from seal.clock import Clock, Course
from seal.methods.method import Method, Rows, descending
from seal.options import Range, Share
from seal.rules import PARTS, Rule, Toss


@dataclass(frozen=True)
class Annealing:
    """Of simulated annealing in gradient descent."""

    initial_temperature: Annotated[float, Range(1e-6)]  # T0
    most_climbing: Share  # the chance's cap
    log_offset: Literal[1, 2]  # ln(n + 1) or ln(n + 2): public ports of the formula disagree
    climbs_by: Literal["gradient", "update"]  # what a climbing step turns round


def sagd(course: Course, options: Annealing) -> Method:
    """SA-GD (Cai 2021): a step climbs with a chance that follows the change of the loss,

        min(cap, 1 - exp(-|dE| / (T0 eta ln(n + 1)))),

    where n epochs are over, dE is the difference of the last two epochs' running training losses, and eta this epoch's
    rate; where eta is 0 the formula's limit, the cap, or 0 where the loss has not changed. Until there are two epochs,
    no step climbs. Departures: the source is plain gradient descent. Momentum hides single flips of the gradient
    (`gradient`: seven in a row turn a steady step); `update` turns momentum too for such a step. Decay still shrinks
    the weights. Only ports of the source's formula could be read, not its own code.
    """
    climb = dict.fromkeys(PARTS, Rule(course.weight_decay, maximize=True))

    def toss(clock: Clock, rows: Rows) -> Toss | None:
        return Toss(chance(clock, rows), climb, turns_momentum=options.climbs_by == "update")

    def chance(clock: Clock, rows: Rows) -> float:
        if len(rows) < 2:
            return 0.0

        change = abs(rows[-1]["train_loss"] - rows[-2]["train_loss"])
        heat = options.initial_temperature * course.rate(clock) * math.log(len(rows) + options.log_offset)
        if heat == 0:
            return options.most_climbing if change else 0.0
        return min(options.most_climbing, 1 - math.exp(-change / heat))

    return Method(descending(course), toss=toss, looks_back=True)


METHODS: dict[str, Callable[[Course, Any], Method]] = {
    "sagd": sagd,
}
