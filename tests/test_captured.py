"""The captured step where there is no GPU: its body against the loop, what its graphs are told apart by, its table."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from seal.captured import CapturedStep, CapturedTrainer, Certificate
from seal.checkpoint import State
from seal.clock import Clock
from seal.data.batches import Batches
from seal.data.planned import PlannedBatches
from seal.loop import train
from seal.methods import METHODS
from seal.rng import stream
from seal.train import CODE
from seal.trainer import Trainer
from tests.small import CPU, contents, small_data, small_run


def ignored(*batch: object) -> None:
    """In place of what watches a training."""


def train_by(kind: type[Trainer], run: Any, folder: Path) -> Trainer:
    folder.mkdir()
    trainer = kind(run, small_data(run), CPU)
    train(trainer, State(), folder, 100, ignored, ignored)
    return trainer


@pytest.mark.parametrize("method", METHODS)
def test_the_captured_body_trains_to_the_loops_bits(method: str, tmp_path: Path) -> None:
    run = small_run(method, channels_last=method in ("seal", "imp", "ban"))
    train_by(Trainer, run, tmp_path / "loop")
    train_by(CapturedTrainer, run, tmp_path / "body")
    assert contents(tmp_path / "body") == contents(tmp_path / "loop"), "weights, momentum, rows and predictions"


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("flip", "crop_padding"), [(True, 2), (True, 0), (False, 3), (False, 0)])
def test_planned_batches_are_the_loops(flip: bool, crop_padding: int, channels_last: bool) -> None:
    images = torch.randint(256, (21, 7, 9, 3), dtype=torch.uint8, generator=stream(0, "images"))
    batches = Batches(
        images, torch.arange(21), batch_size=8, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225], flip=flip,
        crop_padding=crop_padding, device=CPU, channels_last=channels_last,
    )  # fmt: skip
    planned = PlannedBatches(batches)
    for epoch in range(2):
        draws = [[stream(0, name, epoch) for name in ("order", "augmentation")] for _ in range(2)]
        planned.upload(batches.plan(*draws[0]))
        for x, y in batches.epoch(*draws[1]):
            planned_x, planned_y = planned.next(len(y))
            assert torch.equal(planned_x, x)
            assert planned_x.stride() == x.stride()
            assert torch.equal(planned_y, y)


def test_a_planned_batch_reads_no_host_value() -> None:
    """On the meta device nothing has a value: what would ask for one, or for a tensor of the CPU, raises."""
    images = torch.zeros(21, 8, 8, 3, dtype=torch.uint8)
    batches = Batches(
        images, torch.arange(21), batch_size=8, mean=[0.5] * 3, std=[0.5] * 3, flip=True, crop_padding=1, device=CPU,
        channels_last=True,
    )  # fmt: skip
    planned = PlannedBatches(batches)
    for name, value in vars(planned).items():
        if isinstance(value, Tensor):
            setattr(planned, name, value.to("meta"))
    planned.plan = planned.plan.to(torch.device("meta"))
    x, y = planned.next(8)
    assert (x.device.type, x.shape, y.shape) == ("meta", (8, 3, 8, 8), (8,))


def test_without_a_gpu_it_says_why_and_runs_the_loop() -> None:
    run = small_run()
    trainer = CapturedTrainer(run, small_data(run), CPU)
    assert trainer.capture == "steps are not captured: a graph needs a GPU, found cpu"
    assert trainer.certificate is None


def keys_of(method: str, **changes: Any) -> list[Any]:
    """Of each epoch's first step, in a training of two generations."""
    run = small_run(method, **changes)
    trainer, state, keys = CapturedTrainer(run, small_data(run), CPU), State(), []
    state.take(trainer.model, trainer.optimizer, trainer.names)
    state.previous = state.copied()
    for clock in trainer.course.clocks():
        trainer.begin_epoch(clock, state)
        keys.append(trainer._key(8))
        trainer.train_epoch(clock, ignored)
        state.rows.append({"train_loss": 1.0 / (1 + len(state.rows))})
        state.take(trainer.model, trainer.optimizer, trainer.names)
        state.alive, state.kept, state.previous = dict(trainer.masks.alive), state.copied(), state.copied()
    return keys


@pytest.mark.parametrize(("method", "kinds"), [
    ("normal_long", 1), ("seal", 1), ("sagd", 1), ("ke_wels", 1), ("imp", 2), ("ban_labels", 2), ("seal_freeze", 2),
])  # fmt: skip
def test_a_phase_changes_numbers_and_only_another_kind_of_step_is_captured_anew(method: str, kinds: int) -> None:
    assert len(set(keys_of(method))) == kinds


def test_masks_and_teachers_stay_where_a_graph_reads_them() -> None:
    run = small_run("imp")
    trainer, state = CapturedTrainer(run, small_data(run), CPU), State()
    factors: list[list[Tensor]] = []
    state.take(trainer.model, trainer.optimizer, trainer.names)
    state.kept = state.previous = state.copied()
    for clock in (Clock(2, 0), Clock(2, 1)):
        trainer.begin_epoch(clock, state)
        factors.append(trainer.masks._factors)
        state.alive = dict(trainer.masks.alive)
    assert factors[0]
    assert [factor.data_ptr() for factor in factors[0]] == [factor.data_ptr() for factor in factors[1]]
    for (name, mask), factor in zip(trainer.masks.alive.items(), factors[1], strict=True):
        assert torch.equal(mask, factor.bool()), name


class PretendedGraphs(CapturedTrainer):
    """Graphs that are the body itself, as far as a CPU can pretend: the path of replays, of keys and certificates."""

    agrees = True

    def _refusal(self) -> str:
        return ""

    def _capture(self, size: int) -> CapturedStep:
        self.captured = [*getattr(self, "captured", []), size]
        certificate = Certificate(
            bit_equal=self.agrees, largest_distance=0.0 if self.agrees else 0.5, agrees=self.agrees
        )
        return CapturedStep(SimpleNamespace(replay=lambda: self._body(size)), certificate)


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize("method", ["seal", "sagd", "imp"])
def test_replays_are_one_a_step_and_captures_few(method: str, tmp_path: Path) -> None:
    run = small_run(method)
    loop = train_by(Trainer, run, tmp_path / "loop")
    trainer: Any = train_by(PretendedGraphs, run, tmp_path / "graphs")
    assert contents(tmp_path / "graphs") == contents(tmp_path / "loop")
    assert sorted(set(trainer.captured)) == [10, 16], "26 images in batches of 16"
    assert len(trainer.captured) == len(trainer.graphs)
    assert trainer.capture == "steps are captured, bit-equal to the loop's"
    assert loop.capture == ""


@pytest.mark.usefixtures("pretended")
def test_a_certificate_that_fails_leaves_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PretendedGraphs, "agrees", False)
    trainer: Any = train_by(PretendedGraphs, small_run(), tmp_path / "run")
    assert trainer.captured == [16], "and no other is tried"
    assert trainer.capture == "steps are not captured: four replays end 0.5 from four steps of the loop"


UNSUPPORTED = RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with TORCH_USE_CUDA")
SPOILT = RuntimeError("CUDA error: operation failed due to a previous error during capture")
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.mark.usefixtures("pretended")
@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (SPOILT, UNSUPPORTED, "CUDA error: operation not permitted when stream is capturing"),
        (SPOILT, KeyError("of another kind"), "CUDA error: operation failed due to a previous error during capture"),
        (FULL, None, "CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_a_capture_that_fails_leaves_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, cause: Exception | None, words: str
) -> None:
    run = small_run()
    tried = []

    def capture(trainer: CapturedTrainer, size: int) -> CapturedStep:
        """Fails after some steps, as the fourth of a certificate's may."""
        tried.append(size)
        trainer.optimizer.fill_buffers()

        def steps() -> Iterator[Any]:
            yield lambda: trainer._body(size)
            error.__context__ = cause
            raise error

        trainer._after(trainer._snapshot(), steps())
        raise AssertionError

    monkeypatch.setattr(PretendedGraphs, "_capture", capture)
    trainer = train_by(PretendedGraphs, run, tmp_path / "graphs")
    train_by(Trainer, run, tmp_path / "loop")
    assert contents(tmp_path / "graphs") == contents(tmp_path / "loop")
    assert tried == [16], "and no other is tried"
    assert trainer.capture == f"steps are not captured: the capture failed: {words}"


@pytest.mark.usefixtures("pretended")
def test_a_later_capture_that_fails_gives_the_others_memory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretended = PretendedGraphs._capture

    def capture(trainer: PretendedGraphs, size: int) -> CapturedStep:
        if size < 16:
            raise FULL
        return pretended(trainer, size)

    monkeypatch.setattr(PretendedGraphs, "_capture", capture)
    run = small_run()
    trainer: Any = train_by(PretendedGraphs, run, tmp_path / "graphs")
    train_by(Trainer, run, tmp_path / "loop")
    assert contents(tmp_path / "graphs") == contents(tmp_path / "loop")
    assert (trainer.captured, trainer.graphs) == ([16], {})


@pytest.mark.usefixtures("pretended")
def test_a_device_that_is_lost_in_a_capture_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*arguments: object) -> CapturedStep:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(PretendedGraphs, "_capture", raising)
    monkeypatch.setattr(torch.cuda, "synchronize", raising)
    run = small_run()
    trainer = PretendedGraphs(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        trainer.train_epoch(Clock(1, 0), ignored)


def test_a_capture_that_fails_leaves_the_stream_that_it_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own `graph` leaves its stream the current one where ending the capture raises."""
    main, lane = MagicMock(), MagicMock()
    now = [main]

    @contextmanager
    def stream_of(stream: MagicMock) -> Iterator[None]:
        before, now[0] = now[0], stream
        try:
            yield
        finally:
            now[0] = before

    class Graph:
        def __init__(self, *arguments: object, stream: MagicMock, **options: object) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            now[0] = self.stream

        def __exit__(self, *error: object) -> None:
            raise SPOILT

    monkeypatch.setattr(torch.cuda, "stream", stream_of)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: now[0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", Graph)
    run = small_run()
    trainer = CapturedTrainer(run, small_data(run), CPU)
    trainer.pool, trainer.lane = None, lane
    trainer.begin_epoch(Clock(1, 0))
    trainer._begin(Clock(1, 0))
    with pytest.raises(RuntimeError, match="previous error during capture"):
        trainer._capture(16)
    assert now == [main]


def test_hits_that_rounding_turns_refuse_no_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run()
    trainer = CapturedTrainer(run, small_data(run), CPU)
    weights = torch.ones(4)
    monkeypatch.setattr(trainer, "_changing", lambda: [weights, trainer.correct, trainer.number])

    def certificate(apart: float, hits: int, number: int) -> Certificate:
        eager = [weights, torch.tensor(1), torch.tensor(4)]
        return trainer._certificate_of(eager, [weights * (1 + apart), torch.tensor(hits), torch.tensor(number)])

    turned = certificate(1e-5, 2, 4)
    assert turned.agrees
    assert 0 < turned.largest_distance < 2e-5, "of the weights"
    assert not turned.bit_equal
    assert not certificate(0.1, 1, 4).agrees
    assert not certificate(0, 1, 3).agrees, "a batch that is counted or not has no rounding"
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert not certificate(0, 2, 4).agrees, "else the same bits are promised"
    assert certificate(0, 1, 4) == Certificate(True, 0.0, True)


def test_a_certificate_compares_bits_where_the_device_promises_them(monkeypatch: pytest.MonkeyPatch) -> None:
    run = small_run()
    trainer = CapturedTrainer(run, small_data(run), CPU)
    loop, near = [torch.ones(4)], [torch.ones(4) * (1 + 1e-5)]
    monkeypatch.setattr(trainer, "_changing", lambda: loop)
    assert trainer._certificate_of(loop, loop) == Certificate(True, 0.0, True)
    assert trainer._certificate_of(loop, near).agrees, "within float32's rounding"
    assert not trainer._certificate_of(loop, [torch.ones(4) * 1.1]).agrees
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert not trainer._certificate_of(loop, near).agrees


def test_a_snapshot_takes_and_puts_back_all_that_a_step_changes() -> None:
    run = small_run(channels_last=True, batch_size=8)
    trainer = CapturedTrainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    trainer._begin(Clock(1, 0))
    trainer.optimizer.fill_buffers()
    before = trainer._snapshot()
    first = trainer._after(before, iter([lambda: trainer._body(8)] * 4))
    assert all(torch.equal(mine, saved) for mine, saved in zip(trainer._changing(), before, strict=True))
    assert not all(torch.equal(mine, saved) for mine, saved in zip(first, before, strict=True))
    again = trainer._after(before, iter([lambda: trainer._body(8)] * 4))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, again, strict=True))


def test_its_code_is_the_trainings() -> None:
    assert {"seal/captured.py", "seal/data/planned.py", "seal/precision.py"} <= set(CODE)
