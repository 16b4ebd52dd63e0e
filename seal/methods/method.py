"""The seam between a training and its method: what a method is asked, and the answers of one that does not care.

A method is a function of a training's course and of its own numbers, and gives a Method. The trainer asks it before
each epoch, seal/phases.py where its rules change. Nobody asks for its name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seal.clock import Clock, Course
from seal.rules import PARTS, NetworkView, Rule, Rules, Toss, Values

Rows = Sequence[Mapping[str, Any]]  # of history.csv, an epoch each


def nothing(clock: Clock, network: NetworkView) -> Values:
    return {}


@dataclass(frozen=True)
class Method:
    """What a training asks of a method. Each answer is a function of what it is asked alone; names are parameters'."""

    rules: Callable[[Clock], Rules]  # of each part in this epoch; `descending` where none does otherwise
    forget: Callable[[Clock, NetworkView], Values] = nothing  # put in place of the network's values before this epoch
    alive: Callable[[Clock, NetworkView], Values] = nothing  # masks: where one is false the weight is zero and stays so
    # In this epoch's loss the weight of the last generation's softmax, its teacher; labels have the rest of 1.
    lesson: Callable[[Clock], float | None] = lambda clock: None
    toss: Callable[[Clock, Rows], Toss | None] = lambda clock, rows: None  # by the rows of all epochs before this one
    keeps: Callable[[Clock], bool] = lambda clock: False  # whether `network.kept` is the network as this epoch ends
    looks_back: bool = False  # the last generation's end stays: to learn from, and to measure the distance from


@dataclass(frozen=True)
class NoOptions:
    """Of a method without numbers of its own."""


def descend(course: Course) -> Rule:
    return Rule(weight_decay=course.weight_decay)


def descending(course: Course) -> Callable[[Clock], Rules]:
    """The rules of a method under which all parts descend in every epoch."""
    return lambda clock: dict.fromkeys(PARTS, descend(course))
