"""PyTorch's own optimizer tests, on SignedSGD: the cases of `torch/testing/_internal/common_optimizers.py` for SGD
and the tests of `test/test_optim.py` that use them (torch 2.10), each under its name there.
"""

import ast
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedule

from seal.optim import SignedSGD

# Cases of torch's list that do not apply, and tests of `test_optim.py` that are not run here, with the reason.
NOT_APPLICABLE = {
    "dampening": "not a number of the signed step: refused (test_optim_errors.py)",
    "nesterov": "not a number of the signed step: refused (test_optim_errors.py)",
    "test_complex, test_complex_2d": "complex parameters are refused (test_optim_errors.py)",
    "test_rosenbrock_sparse": "sparse gradients are refused (test_optim_errors.py)",
    "test_foreach_*, test_fused_*, test_defaults_*, test_peak_memory_*": "of the flags foreach and fused; the "
    "versions here are the backends, compared with exact arithmetic (test_signed_sgd.py)",
    "test_capturable_*, test_cpu_load_state_dict[capturable]": "SGD has no capturable",
    "test_mixed_device_dtype, *_multigpu": "one optimizer steps one device: refused (test_optim_errors.py)",
    "test_differentiable": "a fused step writes in place: refused (test_optim_errors.py)",
    "test_*_cuda_*, test_fused_large_tensor": "need a GPU, or 64 GB",
    "test_second_order_*, test_load_nontensor_step": "of optimizers with a closure or a step count",
    "test_fused_does_not_step_if_foundinf": "run as test_gradients_are_unscaled_in_place_... (test_optim.py)",
}
CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "default": lambda: {"lr": 1e-3},
    "non-default lr": lambda: {"lr": 1e-2},
    "tensor lr": lambda: {"lr": torch.tensor(0.001)},
    "non-zero weight_decay": lambda: {"lr": 1e-3, "weight_decay": 0.5},
    "momentum": lambda: {"lr": 1e-3, "momentum": 0.9},
    "maximize": lambda: {"lr": 1e-3, "weight_decay": 0.1, "maximize": True},
    "weight_decay w/ momentum": lambda: {"lr": 1e-3, "momentum": 0.9, "weight_decay": 0.1},
}
SCHEDULERS: list[list[Callable[[Any], Any]]] = [
    [],
    [lambda o: schedule.StepLR(o, gamma=0.9, step_size=10)],
    [lambda o: schedule.LinearLR(o, start_factor=0.4, end_factor=0.8, total_iters=4)],
    [
        lambda o: schedule.StepLR(o, gamma=0.9, step_size=10),
        lambda o: schedule.LinearLR(o, start_factor=0.4, end_factor=0.6, total_iters=4),
    ],
    [
        lambda o: schedule.StepLR(o, gamma=0.99, step_size=10),
        lambda o: schedule.ExponentialLR(o, gamma=0.99),
        lambda o: schedule.ReduceLROnPlateau(o),
    ],
    [lambda o: schedule.ConstantLR(o, factor=0.4, total_iters=4)],
    [lambda o: schedule.PolynomialLR(o, power=0.9, total_iters=4)],
    [lambda o: schedule.StepLR(o, gamma=0.9, step_size=10), lambda o: schedule.ReduceLROnPlateau(o)],
]
each_case = pytest.mark.parametrize("case", CASES)
each_backend = pytest.mark.parametrize("backend", ["reference", "cpu"])


def test_no_case_of_torchs_list_is_missing() -> None:
    path = Path(torch.__file__).parent / "testing" / "_internal" / "common_optimizers.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    function = next(x for x in tree.body if isinstance(x, ast.FunctionDef) and x.name == "optim_inputs_func_sgd")
    named = {ast.literal_eval(x.value) for x in ast.walk(function) if isinstance(x, ast.keyword) and x.arg == "desc"}
    assert named == CASES.keys() | {"dampening", "nesterov"}


class Problem:
    """The sum of squares of a linear layer's output, with contiguous parameters or parameters with gaps."""

    def __init__(self, contiguous: bool = True) -> None:
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: torch.randn(shape, generator=generator)  # noqa: E731
        self.weight = nn.Parameter(draw(10, 5) if contiguous else draw(10, 5, 2)[..., 0])
        self.bias = nn.Parameter(draw(10) if contiguous else draw(10, 2)[..., 0])
        self.input = draw(5)
        self.params = [self.weight, self.bias]

    def backward(self) -> Tensor:
        self.weight.grad = self.bias.grad = None
        loss = (self.weight.mv(self.input) + self.bias).pow(2).sum()
        loss.backward()
        return loss

    def run(self, optimizer: SignedSGD, steps: int = 20, schedulers: Any = ()) -> bool:
        """Whether the loss rose."""
        first = self.backward().item()
        for _ in range(steps):
            loss = optimizer.step(self.backward)
            for scheduler in schedulers:
                scheduler.step(*[loss.detach()] * isinstance(scheduler, schedule.ReduceLROnPlateau))
        return self.backward().item() > first


@each_backend
@each_case
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("schedulers", SCHEDULERS, ids=range(len(SCHEDULERS)))
def test_forloop_goes_right_direction(case: str, backend: str, contiguous: bool, schedulers: Any) -> None:
    problem, kwargs = Problem(contiguous), CASES[case]()
    optimizer = SignedSGD(problem.params, backend=backend, **kwargs)
    rose = problem.run(optimizer, schedulers=[make(optimizer) for make in schedulers])
    assert rose == kwargs.get("maximize", False)


@pytest.mark.parametrize("schedulers", SCHEDULERS[1:], ids=range(1, len(SCHEDULERS)))
def test_param_group_with_lrscheduler_goes_right_direction(schedulers: Any) -> None:
    problem = Problem()
    optimizer = SignedSGD([{"params": [problem.weight]}, {"params": [problem.bias], "lr": 0.01}], lr=1e-3)
    assert not problem.run(optimizer, schedulers=[make(optimizer) for make in schedulers])


@each_backend
@each_case
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_tensor_lr(case: str, backend: str, shape: tuple[int, ...]) -> None:
    a, b, kwargs = Problem(), Problem(), CASES[case]() | {"lr": 1e-3}
    a.run(SignedSGD(a.params, backend=backend, **kwargs))
    b.run(SignedSGD(b.params, backend=backend, **kwargs | {"lr": torch.tensor(1e-3).reshape(shape)}))
    torch.testing.assert_close(a.params, b.params)


@each_case
def test_param_groups_weight_decay_and_lr(case: str) -> None:
    problem, kwargs = Problem(), CASES[case]()
    far, still = nn.Parameter(torch.ones(2)), torch.ones(2)
    far.grad = torch.rand(2)
    no_decay, hardly = {"params": [problem.bias], "weight_decay": 0.0}, {"params": [far], "lr": 1e-28}
    rose = problem.run(SignedSGD([{"params": [problem.weight]}, no_decay, hardly], **kwargs))
    assert rose == kwargs.get("maximize", False)
    assert torch.equal(far, still)


@each_backend
@each_case
def test_step_is_noop_when_params_have_no_grad_or_zero_grads(case: str, backend: str) -> None:
    params, kwargs = [torch.randn(2, 3), torch.randn(5, 1, requires_grad=True)], CASES[case]() | {"weight_decay": 0.0}
    old = [p.detach().clone() for p in params]
    params[1].grad = torch.zeros(5, 1)
    assert SignedSGD(params, backend=backend, **kwargs).step(lambda: torch.tensor([1])) == 1
    assert all(map(torch.equal, old, params))


@each_case
def test_optimizer_can_be_printed(case: str) -> None:
    assert "maximize" in repr(SignedSGD(Problem().params, **CASES[case]()))


@each_case
@pytest.mark.parametrize("named", [(a, b) for a in (True, False) for b in (True, False)])
def test_state_dict_deterministic_from_to_named_and_older(case: str, named: tuple[bool, bool], tmp_path: Path) -> None:
    a, b = Problem(), Problem()
    first, second = (
        SignedSGD([*zip("wb", x.params, strict=True)] if name else x.params, **CASES[case]())
        for x, name in zip((a, b), named, strict=True)
    )
    a.run(first, 10)
    b.params[0].data.copy_(a.weight)
    b.params[1].data.copy_(a.bias)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    for group in saved["param_groups"]:
        for flag in ("foreach", "differentiable", "fused"):  # what torch's SGD did not have at first
            del group[flag]
    second.load_state_dict(saved)
    a.run(first, 10)
    b.run(second, 10)
    assert all(map(torch.equal, a.params, b.params))
    assert ("param_names" in second.state_dict()["param_groups"][0]) == any(named)
    del saved["param_groups"][0]["maximize"]
    second.load_state_dict(saved)
    b.run(second, 1)


def test_hooks() -> None:
    problem, calls = Problem(), []
    optimizer = SignedSGD(problem.params, lr=0.1, momentum=0.9)
    handles = [
        optimizer.register_step_pre_hook(lambda *_: calls.append("before")),
        optimizer.register_step_post_hook(lambda *_: calls.append("after")),
    ]
    optimizer.step(problem.backward)
    for handle in handles:
        handle.remove()
    optimizer.step(problem.backward)
    assert calls == ["before", "after"]

    def mark(opt: torch.optim.Optimizer) -> None:
        opt.state["test"] = True  # type: ignore[index]

    optimizer.register_state_dict_pre_hook(mark)
    optimizer.register_load_state_dict_post_hook(mark)
    optimizer.register_load_state_dict_pre_hook(lambda _, state: state["param_groups"][0].update(lr=0.002))
    optimizer.load_state_dict(optimizer.state_dict())
    optimizer.reset_momentum()
    assert optimizer.state_dict()["state"]["test"]
    assert optimizer.param_groups[0]["lr"] == 0.002


@each_case
def test_deepcopy_copies_all_public_attrs_and_state_is_not_empty(case: str) -> None:
    problem = Problem()
    optimizer = SignedSGD(problem.params, **CASES[case]())
    problem.run(optimizer, 3)
    public = [{name for name in vars(x) if not name.startswith("_")} for x in (optimizer, deepcopy(optimizer))]
    assert public[0] == public[1]
    assert bool(optimizer.state_dict()["state"]) == ("momentum" in case)


def test_errors() -> None:
    p, q = nn.Parameter(torch.randn(1, 1)), nn.Parameter(torch.randn(1, 1))
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (p, {}, TypeError, "should be an iterable of Tensors or dicts"),
        ([{"params": p}, {"params": p}], {}, ValueError, "some parameters appear in more than one parameter group"),
        ([p], {"lr": torch.tensor([0.001, 0.001])}, ValueError, "Tensor lr must be 1-element"),
        ([("weight", p), q], {}, ValueError, "all optimizer params should be with/without names"),
        ([{"params": [p]}, {"params": [("weight", q)]}], {}, ValueError, "all optimizer param groups should be with"),
        ([p], {"momentum": -0.5}, ValueError, "Invalid momentum value: -0.5"),
        ([p], {"lr": -0.1}, ValueError, "Invalid learning rate: -0.1"),
        ([p], {"weight_decay": -0.1}, ValueError, "Invalid weight_decay value: -0.1"),
    ]
    for params, kwargs, error, message in cases:
        with pytest.raises(error, match=message):
            SignedSGD(params, **{"lr": 0.1} | kwargs)
    with pytest.raises(ValueError, match="a parameter is twice in a group"):  # where torch warns
        SignedSGD([p, p], lr=0.1)
