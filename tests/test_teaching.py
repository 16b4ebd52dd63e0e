"""Born-again networks: what a lesson is, who teaches it, and that a student begins without it."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from seal.checkpoint import State
from seal.clock import Clock
from seal.rng import stream
from seal.steps import Teacher
from seal.trainer import Trainer
from tests.small import CPU, small_data, small_run, trained


@pytest.mark.numerical
@given(batch=st.integers(1, 4), classes=st.integers(2, 5), seed=st.integers(0, 9))
def test_the_gradient_of_a_lesson_is_the_difference_of_answers(batch: int, classes: int, seed: int) -> None:
    network = nn.Linear(6, classes).double()
    x = torch.randn(batch, 6, generator=stream(seed, "x"), dtype=torch.float64)
    logits = torch.randn(batch, classes, generator=stream(seed, "z"), dtype=torch.float64, requires_grad=True)
    loss = Teacher(network, network.state_dict(), 1.0).loss(x, logits, torch.tensor(math.nan))
    (gradient,) = torch.autograd.grad(loss, logits)
    difference = logits.detach().softmax(1) - network(x).detach().softmax(1)
    torch.testing.assert_close(gradient, difference / batch, rtol=1e-5, atol=1e-7)


@pytest.mark.numerical
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
def test_a_lesson_of_half_logits_is_that_of_their_float32(kind: torch.dtype, autocast: bool, seed: int) -> None:
    """Its gradient is then rounded once, to the logits' own kind."""
    network, x = nn.Linear(6, 5), torch.randn(4, 6, generator=stream(seed, "x"))
    teacher = Teacher(network, network.state_dict(), 1.0)
    logits = torch.randn(4, 5, generator=stream(seed, "z")).to(kind).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        p = network(x).detach().float().softmax(1)
        loss = teacher.loss(x, logits, torch.tensor(0.0))
    torch.testing.assert_close(loss, cross_entropy(logits.float(), p), rtol=1e-6, atol=0)

    (gradient,) = torch.autograd.grad(loss, logits)
    expected = (logits.detach().float().softmax(1) - p) / 4
    torch.testing.assert_close(gradient, expected.to(kind), rtol=2 * torch.finfo(kind).eps, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16], ids=str)
def test_a_student_that_gives_its_teachers_answers_learns_nothing_from_them(kind: torch.dtype) -> None:
    network, x = nn.Linear(6, 5).to(kind), torch.randn(4, 6, generator=stream(0, "x")).to(kind)
    logits = network(x).detach().requires_grad_()
    loss = Teacher(network, network.state_dict(), 1.0).loss(x, logits, torch.tensor(0.0))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert float(gradient.abs().max()) < 1e-6, "of probabilities some 0.1, which bfloat16 rounds by 1e-4"


def test_labels_have_the_weight_that_the_teacher_leaves() -> None:
    network, x, y = nn.Linear(6, 3), torch.randn(4, 6, generator=stream(0, "x")), torch.arange(4) % 3
    logits = torch.randn(4, 3, generator=stream(0, "z"))
    of_labels = cross_entropy(logits, y, label_smoothing=0.1)
    taught = [Teacher(network, network.state_dict(), w).loss(x, logits, of_labels) for w in (0.0, 0.25, 1.0)]
    assert taught[0] == of_labels
    torch.testing.assert_close(taught[1], 0.25 * taught[2] + 0.75 * of_labels)


@pytest.mark.parametrize("method", ["ban", "ban_labels"])
def test_the_teacher_is_the_last_generations_end_and_is_never_changed(tmp_path: Path, method: str) -> None:
    run = small_run(method, num_generations=3)
    trainer, ended, _ = trained(tmp_path, run)
    teacher = trainer.teacher
    assert teacher is not None
    assert not teacher.network.training
    assert all(torch.equal(value, ended[1][name]) for name, value in teacher.network.state_dict().items())


def test_a_student_begins_whatever_its_teacher() -> None:
    begun = []
    for change in (0.0, 1.0):
        run, state = small_run("ban"), State()
        trainer = Trainer(run, small_data(run), CPU)
        with torch.no_grad():
            for value in trainer.model.parameters():
                value.add_(change)
        state.take(trainer.model, trainer.optimizer, trainer.names)
        state.previous = state.copied()
        trainer.begin_epoch(Clock(2, 0), state)
        begun.append({name: value.clone() for name, value in trainer.model.state_dict().items()})
    assert all(torch.equal(begun[0][name], begun[1][name]) for name in begun[0])
