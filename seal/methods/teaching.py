"""Methods whose generations learn from the one before: born-again networks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from seal.clock import Clock, Course
from seal.methods.method import Method, NoOptions, descending
from seal.options import Share
from seal.rules import NetworkView, Values


def ban(course: Course, options: NoOptions) -> Method:
    """Born-again networks (Furlanello et al. 2018): a fresh student learns the last generation's answers, no label.

    The teacher is the last generation's end in evaluation mode, its softmax without temperature the target of plain
    cross-entropy; label smoothing does not touch it. The student is drawn by the run's `reinitialiser`, whatever its
    teacher. Departure: the source's students are of one size with DenseNets or Wide-ResNets, ours the run's ResNet.
    """
    return _born_again(course, teacher_weight=1.0)


@dataclass(frozen=True)
class Labels:
    teacher_weight: Share  # of the loss; labels have the rest


def ban_labels(course: Course, options: Labels) -> Method:
    """Born-again networks that learn labels too (Furlanello et al. 2018); label smoothing is the labels' alone.

    Departures: the source adds the two losses, here their weights sum to 1, as all arms have one rate; and `ban`'s.
    """
    return _born_again(course, options.teacher_weight)


def _born_again(course: Course, teacher_weight: float) -> Method:
    def forget(clock: Clock, network: NetworkView) -> Values:
        sides = network.sides
        return network.drawn(sides.early | sides.late) if clock.begins_later_generation else {}

    def lesson(clock: Clock) -> float | None:
        return teacher_weight if clock.generation > 1 else None

    return Method(descending(course), forget, lesson=lesson, looks_back=True)


METHODS: dict[str, Callable[[Course, Any], Method]] = {
    "ban": ban,
    "ban_labels": ban_labels,
}
