"""Where a training stands, and what follows from that alone: its place in the run, and the learning rate."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seal.sections import Run


@dataclass(frozen=True, order=True)
class Clock:
    """An epoch of a training: `generation` counts from 1, `epoch` from 0 within its generation."""

    generation: int
    epoch: int

    @property
    def begins_later_generation(self) -> bool:
        return self.epoch == 0 and self.generation > 1


@dataclass(frozen=True)
class Course:
    """A training as methods and phases know it: how long it is and at which rates, from which seed."""

    seed: int
    generations: int  # G
    epochs: int  # E, of each generation
    weight_decay: float
    rate: Callable[[Clock], float]  # of descent
    rate_restarts: bool  # with each generation
    reset_momentum: bool  # at a phase's edges

    def clocks(self, after: Clock | None = None) -> Iterator[Clock]:
        """Every epoch in order, or those that come after `after`."""
        for generation in range(1, self.generations + 1):
            for epoch in range(self.epochs):
                clock = Clock(generation, epoch)
                if after is None or clock > after:
                    yield clock


def course_of(run: "Run") -> Course:
    return Course(
        seed=run.seed,
        generations=run.generations.num_generations,
        epochs=run.training.epochs_per_generation,
        weight_decay=run.training.weight_decay,
        rate=lambda clock: learning_rate(run, clock),
        rate_restarts=run.generations.schedule == "per_generation",
        reset_momentum=run.generations.reset_momentum,
    )


def global_epoch(clock: Clock, epochs_per_generation: int) -> int:
    """Epochs since the start of training, from 0."""
    return (clock.generation - 1) * epochs_per_generation + clock.epoch


def learning_rate(run: "Run", clock: Clock) -> float:
    """The descent rate eta of an epoch: linear warm-up over w epochs, then a cosine over the n - w that are left.

    n is E with `schedule: per_generation`, where warm-up and cosine restart in each generation, and G x E with
    `one_cosine`. The last epoch is above zero: eta = (eta_0 / 2) (1 + cos(pi i / (n - w))) for i < n - w.
    """
    per_generation = run.training.epochs_per_generation
    if run.generations.schedule == "one_cosine":
        epoch, length = global_epoch(clock, per_generation), per_generation * run.generations.num_generations
    else:
        epoch, length = clock.epoch, per_generation

    warmup, initial = run.training.warmup_epochs, run.training.learning_rate
    if epoch < warmup:
        return initial * ((epoch + 1) / warmup)
    return initial / 2 * (1 + math.cos(math.pi * (epoch - warmup) / (length - warmup)))
