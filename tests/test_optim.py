"""SignedSGD as an optimizer: groups, state, scaling, and the backend that it names."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seal.optim import SignedSGD
from tests.signed_steps import ALL, FUSED, INTERPRETED, same_bits

pytestmark = pytest.mark.numerical

SHAPES = [(16, 4, 3, 3), (16,), (7, 16), (7,)]
each_backend = pytest.mark.parametrize("backend", ALL)


def parameters(seed: int = 0, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Four parameters with gradients."""
    generator = torch.Generator().manual_seed(seed)
    params = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in SHAPES]
    new_gradients(params, seed)
    return params


def new_gradients(params: list[Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(100 + seed)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)


def sides(params: list[Tensor]) -> list[dict[str, Any]]:
    return [{"params": params[:2], "maximize": True, "lr": 0.01}, {"params": params[2:]}]


def both(backend: str, **numbers: Any) -> tuple[SignedSGD, list[Tensor], torch.optim.SGD, list[Tensor]]:
    """SignedSGD and torch's SGD on equal parameters, the first two ascending."""
    ours, theirs = parameters(), parameters()
    kwargs = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01} | numbers
    return (
        SignedSGD(sides(ours), backend=backend, **kwargs), ours,
        torch.optim.SGD(sides(theirs), foreach=False, **kwargs), theirs,
    )  # fmt: skip


@each_backend
def test_ten_steps_agree_with_torchs_sgd(backend: str) -> None:
    optimizer, ours, sgd, theirs = both(backend)
    for seed in range(10):
        new_gradients(ours, seed)
        new_gradients(theirs, seed)
        optimizer.step()
        sgd.step()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(optimizer.state_dict()["state"], sgd.state_dict()["state"])
    assert optimizer.backend == backend


@pytest.mark.skipif(INTERPRETED, reason="says nothing of Triton")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_reference_is_torchs_sgd_to_the_bit_over_phases_and_states(dtype: torch.dtype) -> None:
    ours, theirs = parameters(dtype=dtype), parameters(dtype=dtype)
    numbers = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    optimizer = SignedSGD(sides(ours), backend="reference", **numbers)
    sgd = torch.optim.SGD(sides(theirs), foreach=False, **numbers)
    for step in range(60):
        if step % 15 == 0:  # the edge of a phase
            for group, other in zip(optimizer.param_groups, sgd.param_groups, strict=True):
                for changed in (group, other):
                    changed.update(maximize=not changed["maximize"], lr=changed["lr"] * 0.7)

        if step in (20, 40):  # each goes on from the other's state
            state, other_state = deepcopy(optimizer.state_dict()), deepcopy(sgd.state_dict())
            optimizer.load_state_dict(other_state)
            sgd.load_state_dict(state)
        new_gradients(ours, step)
        new_gradients(theirs, step)
        optimizer.step()
        sgd.step()
        assert all(torch.equal(p, q) for p, q in zip(ours, theirs, strict=True)), f"step {step}"
        for p, q in zip(ours, theirs, strict=True):
            assert torch.equal(optimizer.state[p]["momentum_buffer"], sgd.state[q]["momentum_buffer"])


@each_backend
def test_either_sgd_goes_on_from_the_others_state(backend: str) -> None:
    optimizer, ours, sgd, theirs = both(backend)
    optimizer.step()
    sgd.step()
    saved, other = deepcopy(optimizer.state_dict()), deepcopy(sgd.state_dict())
    assert saved.keys() == other.keys()
    assert [group.keys() for group in saved["param_groups"]] == [group.keys() for group in other["param_groups"]]
    assert [state.keys() for state in saved["state"].values()] == [state.keys() for state in other["state"].values()]
    optimizer.load_state_dict(other)
    sgd.load_state_dict(saved)
    optimizer.step()
    sgd.step()
    torch.testing.assert_close(ours, theirs)


@each_backend
def test_a_phase_changes_numbers_in_a_group(backend: str) -> None:
    """Also to a negative weight decay, which the constructor refuses and a group may hold."""
    optimizer, ours, sgd, theirs = both(backend)
    for numbers in ({"lr": 0.5, "maximize": False}, {"weight_decay": -0.2}, {"momentum": 0.0}, {"momentum": 0.5}):
        for group in (optimizer.param_groups[0], sgd.param_groups[0]):
            group.update(numbers)
        optimizer.refresh()
        optimizer.step()
        sgd.step()
        torch.testing.assert_close(ours, theirs)


@each_backend
def test_cleared_momentum_is_no_momentum_to_the_bit(backend: str) -> None:
    optimizer, ours, _, _ = both(backend)
    fresh, kept, _, _ = both(backend)
    optimizer.step()
    for p, q in zip(ours, kept, strict=True):
        q.data.copy_(p)
        q.grad, p.grad = torch.where(p.grad > 0, p.grad, -0.0), torch.where(p.grad > 0, p.grad, -0.0)
    places = [optimizer.state[p]["momentum_buffer"].data_ptr() for p in ours]
    optimizer.reset_momentum()
    assert all(optimizer.state[p]["momentum_buffer"].eq(0).all() for p in ours)
    optimizer.step()
    fresh.step()
    assert places == [optimizer.state[p]["momentum_buffer"].data_ptr() for p in ours]
    for p, q in zip(ours, kept, strict=True):
        assert same_bits(p.detach(), q.detach())
        assert same_bits(optimizer.state[p]["momentum_buffer"], fresh.state[q]["momentum_buffer"])


@each_backend
@pytest.mark.parametrize("found_inf", [0.0, 1.0, 2.0])
def test_gradients_are_unscaled_in_place_and_an_overflow_steps_nothing(backend: str, found_inf: float) -> None:
    """`found_inf` counts the devices that found one: 2 is an overflow too."""
    optimizer, ours, _, _ = both(backend)
    plain, expected, _, _ = both(backend)
    before = [p.detach().clone() for p in ours]
    for p in ours:
        p.grad = p.grad * 1024
    scaled = [p.grad.clone() for p in ours]
    optimizer.grad_scale = torch.tensor(1024.0)  # type: ignore[attr-defined]
    optimizer.found_inf = torch.tensor(found_inf)  # type: ignore[attr-defined]
    optimizer.step()
    plain.step()
    for p, start, grad, q in zip(ours, before, scaled, expected, strict=True):
        assert torch.equal(p, start if found_inf else q)
        assert torch.equal(p.grad, grad if found_inf else grad / 1024)


@each_backend
def test_torchs_grad_scaler_drives_it(backend: str) -> None:
    optimizer, ours, sgd, theirs = both(backend)
    for step, factor in enumerate([1.0, torch.inf, 1.0]):
        for opt, params in ((optimizer, ours), (sgd, theirs)):
            scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
            opt.zero_grad(set_to_none=step == 0)
            loss = sum((p * p).sum() for p in params) * factor
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()
    torch.testing.assert_close(ours, theirs)


@each_backend
def test_late_groups_empty_groups_and_missing_gradients(backend: str) -> None:
    optimizer, ours, sgd, theirs = both(backend)
    for opt, params in ((optimizer, ours), (sgd, theirs)):
        opt.step()
        params[1].grad = None
        opt.add_param_group({"params": []})
        late = torch.ones(5, dtype=torch.float64, requires_grad=True)
        late.grad = torch.full_like(late, 3.0)
        params.append(late)
        opt.add_param_group({"params": [late], "maximize": True, "momentum": 0.0})
        opt.step()
    torch.testing.assert_close(ours, theirs)
    assert ours[1].grad is None


@each_backend
def test_a_copy_goes_on_as_the_original(backend: str) -> None:
    model = nn.Linear(6, 3)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer = SignedSGD(model.parameters(), lr=0.1, momentum=0.9, backend=backend)
    optimizer.step()
    other, twin = deepcopy((model, optimizer))
    assert twin.backend == backend
    for p in other.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    twin.step()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert same_bits(p.detach(), q.detach())


@pytest.mark.parametrize("backend", FUSED)
def test_threads_change_no_bit(backend: str) -> None:
    results = []
    for n in (1, 2):
        torch.set_num_threads(n)
        p = torch.linspace(-1, 1, 70_001).requires_grad_()
        p.grad = torch.linspace(-3, 5, 70_001)
        optimizer = SignedSGD([p], lr=0.1, momentum=0.9, weight_decay=0.01, backend=backend)
        optimizer.step()
        optimizer.step()
        results.append(p.detach())
    assert same_bits(*results)


@pytest.mark.skipif(INTERPRETED, reason="says nothing of Triton")
def test_auto_names_what_it_chose() -> None:
    on_cpu = SignedSGD(parameters(), lr=0.1)
    assert on_cpu.backend == "auto"
    on_cpu.refresh()
    assert on_cpu.backend == "cpu"
    p = torch.zeros(3, device="meta", requires_grad=True)
    p.grad = torch.zeros_like(p)
    elsewhere = SignedSGD([p], lr=0.1, momentum=0.9)
    elsewhere.step()
    assert elsewhere.backend == "reference"
