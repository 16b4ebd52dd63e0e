"""Training by a fused step and by the reference goes the same way, from the same state."""

import statistics
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seal.checkpoint import State
from seal.clock import Clock
from seal.data.batches import Batch
from seal.loop import train
from seal.rng import stream
from seal.trainer import Trainer
from tests.small import CPU, small_data, small_run

pytestmark = pytest.mark.numerical


def distances(dtype: torch.dtype, steps: int) -> list[float]:
    """After each step of both, early ascending: the largest relative distance of a tensor from the reference's."""
    # The paper's rates; and no batch so small that BatchNorm over one position and two images is all but discontinuous.
    run = small_run("seal", learning_rate=0.01, ascent_lr_scale=0.01, batch_size=26)
    trainers = [Trainer(run, small_data(run), CPU, name) for name in ("reference", "cpu")]
    for trainer in trainers:
        trainer.model.to(dtype)
        trainer.begin_epoch(Clock(2, 0))

    largest: list[float] = []
    for x, y in islice(batches_without_end(trainers[0]), steps):
        for trainer in trainers:
            trainer.step(x.to(dtype), y)
        pairs = zip(*(trainer.model.parameters() for trainer in trainers), strict=True)
        largest.append(max(relative_distance(theirs.detach(), ours.detach()) for theirs, ours in pairs))

    assert [trainer.optimizer.backend for trainer in trainers] == ["reference", "cpu"]
    return largest


def batches_without_end(trainer: Trainer) -> Iterator[Batch]:
    for epoch in count():
        generator = stream(epoch, "test")
        yield from trainer.data.train.epoch(generator, generator)


def relative_distance(theirs: Tensor, ours: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm()) if theirs.any() else 0.0


def test_fifty_steps_in_float64_agree() -> None:
    assert max(distances(torch.float64, 50)) <= 1e-9


def test_the_first_five_steps_in_float32_agree() -> None:
    # A step rounds by 6u = 4e-7 of its terms' size; gradients spread that from step to step, here to 4e-6.
    assert max(distances(torch.float32, 5)) <= 2e-5


def test_a_whole_run_ends_as_near_the_references_as_seeds_are_apart(tmp_path: Path) -> None:
    """Losses at the end of both generations, within three standard deviations of the reference's three seeds.

    At the rates and batch size above: with two images over one position, a rounding decides where a run ends.
    """

    def losses(name: str, seed: int) -> tuple[float, float]:
        run, state = small_run("seal", seed, learning_rate=0.01, ascent_lr_scale=0.01, batch_size=26), State()
        trainer = Trainer(run, small_data(run), CPU, name)
        train(trainer, state, tmp_path / f"{name}-{seed}", 1, lambda *_: None, lambda row: None)
        assert trainer.optimizer.backend == name
        return float(state.rows[-1]["train_loss"]), float(state.rows[-1]["val_loss"])

    reference, fused = ([losses(name, seed) for seed in range(3)] for name in ("reference", "cpu"))
    for theirs, ours in zip(zip(*reference, strict=True), zip(*fused, strict=True), strict=True):
        spread = statistics.stdev(theirs)
        assert spread > 0
        assert all(abs(a - b) <= 3 * spread for a, b in zip(ours, theirs, strict=True))


def test_training_takes_the_fused_step_by_default() -> None:
    run = small_run("seal")
    trainer = Trainer(run, small_data(run), CPU)
    trainer.begin_epoch(Clock(1, 0))
    assert trainer.optimizer.backend == "cpu"
