"""A training whose step is captured once in a CUDA graph and replayed: for a GPU that would wait for each launch.

One replay is one step. It reads its images by a position on the device (data/planned.py) and writes its loss and hits
there, so that the host only asks for the next replay. A phase changes numbers on the device; a new graph is made for
another batch size, other trained parameters, another mode of BatchNorm, masks of other names, another lesson's weight.

Each graph has a certificate: from one snapshot, four steps of the loop and four replays. Where they disagree, or where
nothing can be captured, the same body runs eagerly and `why_not` says why. Without CUDA it always does, which is how
tests hold it against the loop, bit for bit.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from seal.checkpoint import State
from seal.clock import Clock
from seal.data.planned import PlannedBatches
from seal.errors import first_line
from seal.precision import arithmetic
from seal.record import Row
from seal.rules import Rules
from seal.steps import Masks, Teacher
from seal.trainer import Data, OnBatch, Trainer

if TYPE_CHECKING:
    from seal.sections import Run

CERTIFIED = 4  # steps of a certificate; those of the loop also warm up what a capture needs
# Largest relative distance |a - b| / |a| of a tensor after the certificate's steps, where the device does not promise
# the same bits twice: some hundred roundings of 2^-24, 2^-11 and 2^-8.
APART = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 5e-2}

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Certificate:
    """How far four replays end from four steps of the loop, from one snapshot."""

    bit_equal: bool
    largest_distance: float  # relative, of all tensors that a step changes
    agrees: bool


@dataclass(frozen=True)
class CapturedStep:
    """A step of one kind: its graph, and what it was compared by."""

    graph: Any
    certificate: Certificate


class CapturedTrainer(Trainer):
    """A Trainer whose epochs are replays; its rows, weights and state are the Trainer's."""

    def __init__(self, run: "Run", data: Data, device: torch.device, backend: str = "auto") -> None:
        super().__init__(run, data, device, backend)
        self.planned = PlannedBatches(data.train)
        self.numbers = torch.arange(max(len(data.train), CERTIFIED), device=device)
        self.losses = torch.zeros(len(self.numbers), device=device)  # of the epoch's batches
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.number = torch.zeros((), dtype=torch.int64, device=device)  # of batches so far

        self.graphs: dict[Key, CapturedStep] = {}
        self.standing: dict[Key, Masks | Teacher] = {}  # whose tensors the graphs read, by what their graphs' keys say
        self.why_not = self._refusal()
        if not self.why_not:
            self.pool = torch.cuda.graph_pool_handle()
            # Warm-up and capture on a stream of this training's own: cuBLAS keeps work space for each stream, which
            # graphs that are replayed side by side must not share, and which must not come from a graph's memory.
            self.lane = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def _refusal(self) -> str:
        """Why nothing is captured here; empty where something is."""
        if self.device.type != "cuda":
            return f"a graph needs a GPU, found {self.device}"

        self.optimizer.refresh()  # names the backend
        if self.optimizer.backend != "triton":
            return f"the optimizer's backend is {self.optimizer.backend}, whose numbers a graph would keep"
        return ""

    def begin_epoch(self, clock: Clock, state: State | None = None) -> Rules:
        rules = super().begin_epoch(clock, state)
        self.masks = self._stand(("masks", *self.masks.alive), self.masks)
        if self.teacher is not None:
            self.teacher = self._stand(("teacher", self.teacher.weight), self.teacher)
        return rules

    def _stand(self, name: Key, new: Any) -> Any:
        """The masks or the teacher that graphs read, with the new one's values."""
        standing = self.standing.setdefault(name, new)
        if standing is not new:
            standing.follow(new)
        return standing

    def train_epoch(self, clock: Clock, on_batch: OnBatch) -> Row:
        with arithmetic(self.run.training.precision):
            self._begin(clock)
            total, size = len(self.data.train.images), self.data.train.batch_size
            counts = [min(size, total - first) for first in range(0, total, size)]
            step = None
            for number, (climbs, count) in enumerate(zip(self.climbing(clock), counts, strict=True)):
                turned = self._turn(climbs)
                if step is None or turned or count < size:
                    step = self._step_of(count)

                step()
                on_batch(clock, count, self.losses[number], self.correct)
            self._turn(False)
        return self.row_of(clock, self.losses[: len(counts)], torch.tensor(counts, device=self.device), self.correct)

    def _begin(self, clock: Clock) -> None:
        self.planned.upload(self.data.train.plan(*self.draws(clock)))
        self.correct.zero_()
        self.number.zero_()

    def _turn(self, climbs: bool) -> bool:
        turned = super()._turn(climbs)
        if turned:
            self.optimizer.refresh()
        return turned

    def _step_of(self, size: int) -> Any:
        """What does the next step of that size: a graph's replay, made where there is none, or the body itself."""
        if not self.why_not and self._key(size) not in self.graphs:
            self.why_not = self._make_graph(size)
            if self.why_not:
                self.graphs.clear()  # what they hold is the loop's to use now
        if self.why_not:
            return lambda: self._body(size)
        return self.graphs[self._key(size)].graph.replay

    def _make_graph(self, size: int) -> str:
        """Capture a step of that size, to be replayed from now on; else why there is none."""
        try:
            step = self._capture(size)
        except RuntimeError as error:  # a full memory is one too
            torch.cuda.synchronize(self.device)  # raises where not the capture has failed, but the device
            # A capture that an error has spoilt ends in an error of its own, which only says so.
            cause = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            return f"the capture failed: {first_line(cause)}"

        if not step.certificate.agrees:
            return f"four replays end {step.certificate.largest_distance:.1g} from four steps of the loop"
        self.graphs[self._key(size)] = step
        return ""

    def _body(self, size: int) -> None:
        x, y = self.planned.next(size)
        loss, hits = self.step(x, y)
        # Not by an index: its deterministic kernel sorts.
        self.losses.copy_(torch.where(self.numbers == self.number, loss, self.losses))
        self.correct += hits
        self.number += 1

    def _key(self, size: int) -> Key:
        """All that a captured step depends on beside the values of tensors."""
        trained = tuple(parameter.requires_grad for parameter in self.model.parameters())
        modes = tuple(module.training for module in self.model.modules() if isinstance(module, _BatchNorm))
        return size, trained, modes, tuple(self.masks.alive), self.teacher and self.teacher.weight

    def _capture(self, size: int) -> CapturedStep:
        """Capture a step, and hold four replays against four steps; all that they change is put back."""
        self.optimizer.fill_buffers()
        before = self._snapshot()
        current = torch.cuda.current_stream(self.device)

        self.lane.wait_stream(current)
        with torch.cuda.stream(self.lane):
            eager = self._after(before, itertools.repeat(lambda: self._body(size), CERTIFIED))
        current.wait_stream(self.lane)
        torch.cuda.synchronize(self.device)

        graph = torch.cuda.CUDAGraph()
        # Errors by thread: one that saves a resume state meanwhile does not spoil the capture.
        into = torch.cuda.graph(graph, pool=self.pool, stream=self.lane, capture_error_mode="thread_local")
        # `into` leaves its stream the current one where the capture fails.
        with torch.cuda.stream(current), self.optimizer.capturing(), into:
            self._body(size)

        replayed = self._after(before, itertools.repeat(graph.replay, CERTIFIED))
        return CapturedStep(graph, self._certificate_of(eager, replayed))

    def _after(self, before: list[Tensor], steps: Iterator[Any]) -> list[Tensor]:
        """What these steps leave, from a snapshot, which is put back, though one of them raises."""
        try:
            for step in steps:
                step()
            return self._snapshot()
        finally:
            self._restore(before)

    def _changing(self) -> list[Tensor]:
        """Every tensor that a step changes."""
        momentum = [values.get("momentum_buffer") for values in self.optimizer.state.values()]
        buffers = [buffer for buffer in momentum if buffer is not None]
        own = [self.planned.position, self.losses, self.correct, self.number]
        return [*self.model.parameters(), *self.model.buffers(), *buffers, *own]

    def _snapshot(self) -> list[Tensor]:
        return [tensor.detach().clone() for tensor in self._changing()]

    @torch.no_grad()
    def _restore(self, saved: list[Tensor]) -> None:
        for tensor, value in zip(self._changing(), saved, strict=True):
            tensor.copy_(value)

    def _certificate_of(self, eager: list[Tensor], replayed: list[Tensor]) -> Certificate:
        pairs = [
            (mine.double().nan_to_num(), theirs.double().nan_to_num())
            for mine, theirs in zip(eager, replayed, strict=True)
        ]
        equal = all(torch.equal(mine, theirs) for mine, theirs in pairs)
        if torch.are_deterministic_algorithms_enabled():
            return Certificate(equal, _largest_distance(pairs), equal)

        # Rounding turns hits, and one of four steps' few is far from none; other counts have no rounding.
        rounded = []
        for pair, tensor in zip(pairs, self._changing(), strict=True):
            if tensor is not self.correct:
                rounded.append(pair)
        distance = _largest_distance(rounded)
        return Certificate(equal, distance, distance <= APART[self.run.training.precision])

    @property
    def capture(self) -> str:
        if self.why_not:
            return f"steps are not captured: {self.why_not}"
        equal = self.certificate is None or self.certificate.bit_equal
        return f"steps are captured, {'bit-equal to' if equal else 'within rounding of'} the loop's"

    @property
    def certificate(self) -> Certificate | None:
        """The worst of all graphs; None where there is none."""
        certificates = [step.certificate for step in self.graphs.values()]
        return max(certificates, key=lambda certificate: certificate.largest_distance, default=None)


def _largest_distance(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """|a - b| / |a|, of the pair that is furthest apart."""
    return max(float((mine - theirs).norm() / mine.norm().clamp_min(1e-30)) for mine, theirs in pairs)
