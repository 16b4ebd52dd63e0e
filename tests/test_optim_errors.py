"""What SignedSGD refuses: with one line that says so, and before anything has changed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from seal.errors import one_line_errors
from seal.kernels.checks import BackendError
from seal.optim import SignedSGD
from tests.strategies import params_with


def parameter(value: Any = (1.0, 2.0, 3.0, 4.0), dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(value, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"lr": -0.1}, "Invalid learning rate"),
        ({"lr": 0.1, "momentum": -1.0}, "Invalid momentum"),
        ({"lr": 0.1, "weight_decay": -1.0}, "Invalid weight_decay"),
        ({"lr": torch.ones(2)}, "1-element"),
        ({"lr": 0.1, "backend": "cuda"}, "backend 'cuda', expected auto, reference, cpu, triton"),
    ],
)
def test_impossible_numbers(numbers: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SignedSGD([parameter()], **numbers)


@pytest.mark.parametrize("key", ["dampening", "nesterov", "differentiable"])
def test_what_torchs_sgd_can_and_the_signed_step_cannot(key: str) -> None:
    optimizer = SignedSGD([parameter()], lr=0.1, momentum=0.9)
    with pytest.raises(ValueError, match=f"a group has {key}=.*leave it out"):
        optimizer.add_param_group({"params": [parameter()], key: True})
    assert len(optimizer.param_groups) == 1
    saved = optimizer.state_dict()
    saved["param_groups"][0][key] = True
    with pytest.raises(ValueError, match=key):
        optimizer.load_state_dict(saved)


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_whose_ascent_would_do_nothing(dtype: torch.dtype, maximize: bool) -> None:
    p = parameter(dtype=dtype)
    assert torch.equal(p - 1e-6, p), "a step of 1e-6 moves none of them"
    with pytest.raises(TypeError, match="expected float32 or float64; keep float32 parameters"):
        SignedSGD([p], lr=0.1, maximize=maximize)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: parameter(dtype=torch.complex64), TypeError, "complex64"),
        (lambda: torch.eye(3).to_sparse().requires_grad_(), TypeError, "sparse_coo, expected a dense one"),
        (lambda: torch.ones(1).expand(4).requires_grad_(), ValueError, "share memory: clone it"),
    ],
)
def test_parameters_that_it_cannot_step(make: Callable[[], Tensor], error: type[Exception], words: str) -> None:
    optimizer = SignedSGD([parameter()], lr=0.1)
    with pytest.raises(error, match=words):
        optimizer.add_param_group({"params": [make()]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_sparse_gradient_changes_nothing(backend: str) -> None:
    first, second = parameter(), parameter(torch.ones(4, 2).tolist())
    optimizer = SignedSGD([first, second], lr=0.1, momentum=0.9, backend=backend)
    before = [p.detach().clone() for p in (first, second)]
    first.grad = torch.ones(4)
    torch.nn.functional.embedding(torch.tensor([1]), second, sparse=True).sum().backward()
    with pytest.raises(TypeError, match=r"a gradient is torch.float32 \(4, 2\) torch.sparse_coo"):
        optimizer.step()
    assert all(torch.equal(p, old) for p, old in zip((first, second), before, strict=True))
    assert not any(optimizer.state.values())


def test_parameters_on_two_devices() -> None:
    optimizer = SignedSGD([parameter(), torch.ones(2, device="meta", requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="parameters on cpu, meta, expected one device"):
        optimizer.step()


@pytest.mark.parametrize("backend", ["cpu", "triton"])
def test_a_backend_that_cannot_run_there_is_an_error_and_no_other_runs(backend: str) -> None:
    device = "cpu" if backend == "triton" else "meta"
    if backend == "triton" and torch.cuda.is_available():
        pytest.skip("triton is asked for CPU tensors here")
    optimizer = SignedSGD([torch.ones(2, device=device, requires_grad=True)], lr=0.1, backend=backend)
    with pytest.raises(BackendError, match=f"^backend '{backend}' ") as caught:
        optimizer.step()
    with pytest.raises(SystemExit, match=f"^error: runtime.optimizer_backend: backend '{backend}' "), one_line_errors():
        raise caught.value
    assert optimizer.backend == backend


def test_a_momentum_buffer_of_another_shape_or_dtype() -> None:
    optimizer = SignedSGD([parameter()], lr=0.1, momentum=0.9)
    other = SignedSGD([parameter([[1.0, 2.0], [3.0, 4.0]])], lr=0.1, momentum=0.9)
    other.param_groups[0]["params"][0].grad = torch.ones(2, 2)
    other.step()
    with pytest.raises(ValueError, match=r"a momentum buffer is \(2, 2\), expected its parameter's \(4,\)"):
        optimizer.load_state_dict(other.state_dict())
    assert not any(optimizer.state.values())
    p = optimizer.param_groups[0]["params"][0]
    p.grad = torch.ones(4)
    optimizer.state[p]["momentum_buffer"] = torch.zeros(4, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"a momentum buffer is torch\.float64"):
        optimizer.step()


def test_params_name_a_backend_that_exists() -> None:
    with pytest.raises(ValidationError, match="optimizer_backend"):
        params_with(runtime={"optimizer_backend": "cuda"})
