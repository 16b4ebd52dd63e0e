"""The compared methods: their numbers, what an epoch forgets as it begins, and the rule that each part follows in it.

A new method is a function in one of this folder's files, the dataclass of its own numbers beside it, and a line in that
file's METHODS. An arm in params/paper.yaml names it and carries the numbers, which are checked by their annotations
(seal/options.py). What a method is asked, method.py says.
"""

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

from seal.clock import Course, course_of
from seal.methods import annealing, paper, pruning, redrawing, teaching
from seal.methods.method import Method as Method
from seal.methods.method import descend as descend

if TYPE_CHECKING:
    from seal.sections import Run

METHODS: dict[str, Callable[[Course, Any], Method]] = {
    **paper.METHODS,
    **redrawing.METHODS,
    **pruning.METHODS,
    **teaching.METHODS,
    **annealing.METHODS,
}


def method_of(run: "Run") -> Method:
    """The run's method, with the numbers of the run's arm."""
    return METHODS[run.method](course_of(run), run.options)


def options_of(method: str) -> type:
    """The dataclass of that method's numbers."""
    kind: type = signature(METHODS[method]).parameters["options"].annotation
    return kind
