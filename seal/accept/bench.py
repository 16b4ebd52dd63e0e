"""Where an acceptance runs, and how it is timed there: median seconds, kernels by name, a step as a captured graph.

Every section is a function of a Bench.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import DeviceType

Result = dict[str, Any]  # of a section: its numbers, and `passed`, which is None for a measurement


@dataclass(frozen=True)
class Bench:
    """A device, and whether the sections are to be so small that a CPU does them all in seconds."""

    device: torch.device
    tiny: bool

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def wait(self) -> None:
        """Until the device has done all that it was told."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, step: Callable[[], object], at_least: float = 1.0, rounds: int = 5) -> float:
        """Median seconds of a step over rounds, the device's work included; in all about `at_least` s."""
        for _ in range(1 if self.tiny else 3):
            step()
        rounds, at_least = (2, 0.02) if self.tiny else (rounds, at_least)
        once = self._of(step, 1)
        repeats = max(1, int(at_least / rounds / max(once, 1e-6)))
        return statistics.median(self._of(step, repeats) for _ in range(rounds))

    def _of(self, step: Callable[[], object], repeats: int) -> float:
        self.wait()
        began = time.perf_counter()
        for _ in range(repeats):
            step()
        self.wait()
        return (time.perf_counter() - began) / repeats

    def graphed(self, step: Callable[[], object]) -> Callable[[], object]:
        """The step as a graph's replay, so that no launch is waited for; without a GPU the step itself."""
        if not self.on_gpu:
            return step

        lane = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        lane.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(lane):
            for _ in range(3):
                step()
        torch.cuda.current_stream(self.device).wait_stream(lane)

        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=lane):
            step()
        return graph.replay

    def kernels(self, step: Callable[[], object]) -> list[str]:
        """The names of what the step launches; none without a GPU. Copies and fills of memory are no kernels."""
        if not self.on_gpu:
            return []

        step()
        self.wait()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step()
            self.wait()

        names = []
        for event in profile.events() or []:
            if event.device_type == DeviceType.CUDA and not event.name.startswith(("Memcpy", "Memset")):
                names.append(event.name)
        return names

    def free(self) -> None:
        """Give memory that nothing uses back to the device, for the next section."""
        if self.on_gpu:
            torch.cuda.empty_cache()
