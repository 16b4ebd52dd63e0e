"""The file that an interrupted training goes on from: written by a thread beside it, and not more often than asked.

The loop opens it. A state is copied to the CPU when it is taken and written whole or not at all, so that whatever ends
the process leaves the last one that was written.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from seal.checkpoint import State, save_tensors


class ResumeFile:
    """Used as a block, at whose end the last state is on the disk. Raises there, or at the next state, what writing
    the last one raised: OSError where the disk is full.

    `every_epochs` and `every_minutes`: a state is due when both are over. `made_by`: what the file says of its machine.
    """

    def __init__(
        self, path: Path, every_epochs: int, every_minutes: float = 0.0, made_by: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.path, self.every_epochs, self.every_minutes, self.made_by = path, every_epochs, every_minutes, made_by
        self.now = now
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="resume state")
        self._pending: Future[None] | None = None
        self._written_at = now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True)
        if error is None:
            self._wait()

    def due(self, global_epoch: int) -> bool:
        """Whether a state is to be written after that epoch, counted from 0."""
        over = self.now() - self._written_at >= 60 * self.every_minutes
        return over and (global_epoch + 1) % self.every_epochs == 0

    def write(self, state: State) -> None:
        """Begin to write the state, once the last one is written."""
        self._wait()
        tensors, metadata = state.packed(self.made_by)
        self._pending = self._writer.submit(save_tensors, self.path, tensors, metadata)
        self._written_at = self.now()

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()
