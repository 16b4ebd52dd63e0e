"""What a person sees of a training: a bar on a terminal, a line an epoch elsewhere. The training's stage tells it."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from seal.clock import Clock
from seal.record import Row
from seal.sections import Run


class TrainingProgress:
    """Counts batches of images. `rate` is images per second of training steps, measurements between them left out.

    A GPU is told of steps faster than it does them, so the clock is read when an epoch's first and last are done.
    """

    def __init__(self, run: Run, batches_per_epoch: int, done_epochs: int) -> None:
        self.run = run
        self.console = Console(stderr=True)
        self.images, self.seconds = 0, 0.0

        self._clock: Clock | None = None
        self._batches, self._batches_per_epoch = 0, batches_per_epoch
        self._first_ended = self._drawn = time.perf_counter()
        self._epoch_images = 0
        self._said = ""
        self._timed_images = 0  # of the epoch, behind its first batch

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        epochs = run.generations.num_generations * run.training.epochs_per_generation
        self._task = self._bar.add_task(
            run.name, total=epochs * batches_per_epoch, completed=done_epochs * batches_per_epoch
        )

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def rate(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def on_batch(self, clock: Clock, size: int, loss: Tensor, correct: Tensor) -> None:
        if clock != self._clock:  # the first batch's time would count the measurements before it
            self._clock, self._batches, self._epoch_images, self._timed_images = clock, 0, 0, 0
            loss.item()
            self._first_ended = time.perf_counter()
        else:
            self._timed_images += size
        self._batches += 1
        self._epoch_images += size
        if self._batches == self._batches_per_epoch:
            loss.item()
            self.images += self._timed_images
            self.seconds += time.perf_counter() - self._first_ended

        now = time.perf_counter()
        self._bar.advance(self._task)
        if self.console.is_terminal and now - self._drawn > 0.5:  # reading a loss waits for the device
            self._drawn = now
            words = f"loss {loss.item():.3f}  accuracy {correct.item() / self._epoch_images:.1%}"
            self._bar.update(self._task, description=f"{self._place(clock)}  {words}  {self.rate:,.0f} images/s")

    def on_epoch(self, row: Row) -> None:
        val = "" if row.get("val_accuracy") is None else f"  val {row['val_accuracy']:.1%}"
        words = f"loss {row['train_loss']:.3f}  accuracy {row['train_accuracy']:.1%}{val}  {self.rate:,.0f} images/s"
        place = self._place(Clock(row["generation"], row["epoch"]))
        self.console.print(f"{place}  {row['phase']:7}  {words}", highlight=False, soft_wrap=True)

    def say_once(self, words: str) -> None:
        """A line of what is new since it was last asked for, if anything is."""
        if words and words != self._said:
            self._said = words
            self.console.print(f"{self.run.name}  {words}", highlight=False, soft_wrap=True)

    def _place(self, clock: Clock) -> str:
        generations, epochs = self.run.generations.num_generations, self.run.training.epochs_per_generation
        return f"{self.run.name}  generation {clock.generation}/{generations}  epoch {clock.epoch + 1}/{epochs}"
