"""Gradients and parameters that are views: stepped as torch's SGD steps them, or refused before anything moves."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from seal.kernels.memory import share_no_memory
from seal.optim import SignedSGD

BACKENDS = ["reference", "cpu"]
Parameters = Callable[[], list[Tensor]]


def negated(values: Tensor) -> Tensor:
    """The same values as a view that is lazily negated."""
    view = torch._neg_view(-values) if values.ndim == 1 else torch.complex(values, -values).conj().imag
    assert view.is_neg()
    assert torch.equal(view, values)
    return view


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(4,), (3, 5), (33,), (2, 3, 4, 5)])
def test_a_lazily_negated_gradient_steps_as_torch_steps_it(
    backend: str, maximize: bool, scaled: bool, shape: tuple[int, ...]
) -> None:
    values, gradient = torch.randn(shape), torch.randn(shape)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    numbers = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "maximize": maximize}
    optimizer = SignedSGD([ours], backend=backend, **numbers)
    oracle = torch.optim.SGD([theirs], foreach=False, **numbers)
    for _ in range(3):
        ours.grad = negated(gradient * (4 if scaled else 1))
        theirs.grad = gradient.clone()
        if scaled:
            optimizer.grad_scale = torch.tensor(4.0)
        optimizer.step()
        oracle.step()
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(ours.grad, gradient)


def leaves(*views: Tensor) -> list[Tensor]:
    return [view.detach().requires_grad_() for view in views]


def twice() -> list[Tensor]:
    (p,) = leaves(torch.ones(3))
    return [p, p]


MEMORY = torch.arange(24.0)
SHARED: dict[str, Parameters] = {
    "twice": twice,
    "two of one memory": lambda: leaves(MEMORY, MEMORY),
    "one within another": lambda: leaves(MEMORY, MEMORY[5:7]),
    "an edge": lambda: leaves(MEMORY[:13], MEMORY[12:]),
    "rows and columns": lambda: leaves(MEMORY.view(4, 6)[0], MEMORY.view(4, 6)[:, 0]),
    "a stretch of windows": lambda: leaves(MEMORY.unfold(0, 4, 2)),
    "an expanded one": lambda: leaves(torch.ones(1).expand(4)),
    "across others": lambda: leaves(MEMORY, torch.ones(2), MEMORY[-1:]),
    "a negated view": lambda: [negated(torch.ones(3)).detach().requires_grad_()],
}


@pytest.mark.parametrize("case", SHARED)
@pytest.mark.parametrize("in_groups", [False, True])
def test_memory_that_is_shared_is_refused_before_anything_moves(case: str, in_groups: bool) -> None:
    before, parameters = MEMORY.clone(), SHARED[case]()
    groups = [{"params": [p]} for p in parameters] if in_groups else parameters
    with pytest.raises(ValueError, match=r"share|twice|clone|more than one parameter group"):
        SignedSGD(groups, lr=0.1)
    assert torch.equal(MEMORY, before)


def test_a_group_that_is_refused_is_not_added() -> None:
    optimizer = SignedSGD(leaves(MEMORY), lr=0.1)
    with pytest.raises(ValueError, match="share memory, expected each its own: clone one of them"):
        optimizer.add_param_group({"params": leaves(MEMORY[3:])})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_parts_of_one_memory_that_share_no_element_are_stepped(backend: str) -> None:
    memory = torch.arange(24.0)
    grid = memory.view(4, 6)
    parts = leaves(grid[:2, ::2], grid[:2, 1::2], grid[2:].t(), torch.ones(2, 3, 4, 5).transpose(1, 3))
    share_no_memory(parts)
    optimizer = SignedSGD(parts, lr=0.5, backend=backend)
    for part in parts:
        part.grad = torch.ones_like(part)
    optimizer.step()
    assert torch.equal(memory, torch.arange(24.0) - 0.5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(3, 2), (6,), (1, 2, 3), (2, 3, 1)])
def test_a_momentum_buffer_of_another_shape_is_refused(backend: str, shape: tuple[int, ...]) -> None:
    (p,) = leaves(torch.zeros(2, 3))
    optimizer = SignedSGD([p], lr=0.1, momentum=0.9, backend=backend)
    p.grad = torch.ones(2, 3)
    optimizer.step()
    before = p.clone()
    optimizer.state[p]["momentum_buffer"] = torch.ones(shape)
    with pytest.raises(TypeError, match=r"a momentum buffer is .*, expected its parameter's"):
        optimizer.step()
    assert torch.equal(p, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_gradient_of_another_shape_is_refused(backend: str) -> None:
    (p,) = leaves(torch.zeros(2, 3))
    optimizer = SignedSGD([p], lr=0.1, backend=backend)
    p.grad = torch.ones(2, 3)
    p.data = torch.zeros(3, 2)
    with pytest.raises(TypeError, match=r"a gradient is .*, expected its parameter's"):
        optimizer.step()
    assert not p.any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_step_is_the_step(backend: str) -> None:
    ours, theirs = leaves(torch.arange(6.0)), leaves(torch.arange(6.0))
    optimizer = SignedSGD(ours, lr=0.1, momentum=0.9, backend=backend)
    oracle = torch.optim.SGD(theirs, lr=0.1, momentum=0.9)
    compiled = torch.compile(optimizer.step, backend="eager")
    for _ in range(3):
        ours[0].grad, theirs[0].grad = torch.ones(6), torch.ones(6)
        compiled()
        oracle.step()
    torch.testing.assert_close(ours, theirs)
