"""What only the launch has: one for all groups, numbers that a graph sees change, a table of addresses."""

import subprocess
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seal.accept import steps
from seal.accept.bench import Bench
from seal.errors import one_line_errors
from seal.kernels import signed_sgd_triton
from seal.kernels.memory import addresses
from seal.kernels.signed_sgd_triton import SignedSGDTriton, Table, signed_sgd_kernel
from seal.optim import SignedSGD
from tests.signed_steps import INTERPRETED

ON_GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if ON_GPU else "cpu"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="run by test_triton_interpreter.py, in a process of its own")
gpu = pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")


def two_sides(sizes: tuple[int, ...] = (5, 3000, 16), **numbers: Any) -> tuple[SignedSGD, list[Tensor]]:
    """An ascending and a descending group, with gradients of 1."""
    params = [torch.zeros(size, device=DEVICE, requires_grad=True) for size in (*sizes, *sizes)]
    for p in params:
        p.grad = torch.ones_like(p)
    half = len(sizes)
    groups = [{"params": params[:half], "maximize": True}, {"params": params[half:]}]
    return SignedSGD(groups, lr=1.0, backend="triton", **numbers), params


def step_of(optimizer: SignedSGD) -> SignedSGDTriton:
    kernel = optimizer._load()
    assert isinstance(kernel.step, SignedSGDTriton)
    return kernel.step


@pytest.fixture
def capturing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says whether a CUDA graph is being captured, as far as the step can tell."""

    def say(value: bool) -> None:
        monkeypatch.setattr(SignedSGDTriton, "_capturing", lambda self: value)

    return say


@interpreted
def test_one_launch_steps_all_tensors_of_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    launches: list[int] = []

    class Counting:
        def __getitem__(self, grid: tuple[int]) -> Any:
            launches.append(grid[0])
            return signed_sgd_kernel[grid]

    monkeypatch.setattr(signed_sgd_triton, "signed_sgd_kernel", Counting())
    optimizer, params = two_sides()
    optimizer.step()
    assert launches == [2 * (1 + 2 + 1)]  # 3,000 elements are two blocks
    assert [p[0].item() for p in params] == [1.0, 1.0, 1.0, -1.0, -1.0, -1.0]


@interpreted
def test_a_captured_step_reads_new_numbers_after_refresh_and_not_before(capturing: Any) -> None:
    optimizer, params = two_sides()
    optimizer.step()
    address = step_of(optimizer).numbers.data_ptr()
    capturing(True)
    optimizer.param_groups[0].update(lr=10.0, maximize=False)
    optimizer.step()
    assert params[0][0].item() == 2.0  # the old numbers
    optimizer.refresh()
    optimizer.step()
    assert params[0][0].item() == -8.0
    assert step_of(optimizer).numbers.data_ptr() == address


@interpreted
def test_a_learning_rate_on_the_device_is_followed_without_refresh(capturing: Any) -> None:
    optimizer, params = two_sides()
    rate = torch.tensor(1.0, device=DEVICE)
    optimizer.param_groups[1]["lr"] = rate
    optimizer.step()
    capturing(True)
    rate.fill_(4.0)
    optimizer.step()
    assert params[-1][0].item() == -5.0


@interpreted
def test_a_gradient_that_moves_during_a_capture_is_refused(capturing: Any) -> None:
    optimizer, params = two_sides()
    optimizer.step()
    capturing(True)
    optimizer.step()
    params[0].grad = torch.ones_like(params[0])
    with pytest.raises(RuntimeError, match=r"moved during the capture .*set_to_none=False"):
        optimizer.step()


@interpreted
def test_a_captured_table_outlives_later_steps(capturing: Any) -> None:
    optimizer, params = two_sides()
    optimizer.step()
    capturing(True)
    optimizer.step()
    table = step_of(optimizer).captured[-1]
    before = table.tensors.clone()
    capturing(False)
    kept = params[0].grad
    params[0].grad = torch.ones_like(params[0])
    optimizer.step()
    assert torch.equal(table.tensors, before)
    assert step_of(optimizer).tables[torch.float32] is not table
    assert kept is not None


@interpreted
def test_a_capture_may_have_its_gradients_anywhere(capturing: Any) -> None:
    """Its table has memory before the capture, is read by no launch within it, and holds the addresses after it."""
    optimizer, params = two_sides(momentum=0.9)
    optimizer.step()
    moved = [torch.full_like(p, 2.0) for p in params]
    with optimizer.capturing():
        capturing(True)
        for p, gradient in zip(params, moved, strict=True):
            p.grad = gradient
        before = [table.clone() for table in step_of(optimizer).reserved.values()]
        table = step_of(optimizer)._table(torch.float32, addresses_of(optimizer), capturing=True)
        assert torch.equal(table.tensors, before[0]), "nothing is uploaded while a graph is captured"
        capturing(False)

    assert table.tensors.flatten().tolist() == table.addresses.tolist()
    assert table.tensors.view(-1, 5)[:, 1].tolist() == [gradient.data_ptr() for gradient in moved]
    assert step_of(optimizer).captured == [table]


@interpreted
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_after_a_capture_takes_the_gradients_that_it_finds(
    capturing: Any, monkeypatch: pytest.MonkeyPatch, momentum: float, fails: bool
) -> None:
    """A capture launches nothing, and leaves the gradients in the graph's memory; it may end in an error."""
    optimizer, params = two_sides(momentum=momentum)
    optimizer.step()
    twins = [p.detach().clone().requires_grad_() for p in params]
    reference = SignedSGD(
        [{"params": twins[:3], "maximize": True}, {"params": twins[3:]}], lr=1.0, momentum=momentum, backend="reference"
    )
    reference.load_state_dict(deepcopy(optimizer.state_dict()))  # else both step the same momentum

    with monkeypatch.context() as patched, suppress(KeyError), optimizer.capturing():
        patched.setattr(SignedSGDTriton, "_launch", lambda *arguments: None)
        capturing(True)
        for p in params:
            p.grad = torch.full_like(p, 100.0)
        optimizer.step()
        capturing(False)
        if fails:
            raise KeyError

    for twin in twins:
        twin.grad = torch.full_like(twin, 100.0)
    for _ in range(2):
        optimizer.step()
        reference.step()
    assert all(torch.equal(p, twin) for p, twin in zip(params, twins, strict=True))
    assert step_of(optimizer).pending == []


@interpreted
def test_a_capture_of_other_tensors_than_its_warm_up_is_refused(capturing: Any) -> None:
    optimizer, params = two_sides()
    optimizer.step()
    params[0].grad = None
    with optimizer.capturing():
        capturing(True)
        with pytest.raises(RuntimeError, match="steps other tensors than the step before it"):
            optimizer.step()


def addresses_of(optimizer: SignedSGD) -> Any:
    return addresses([optimizer._gather(group) for group in optimizer.param_groups], torch.float32)


@interpreted
def test_a_step_again_launches_the_last_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer, params = two_sides()
    optimizer.step()
    monkeypatch.setattr(signed_sgd_triton, "addresses", None)  # would be called by a step that gathers
    optimizer.param_groups[0]["lr"] = 3.0
    optimizer.step()
    assert [p[0].item() for p in params] == [4.0] * 3 + [-2.0] * 3


class OnGpu(Bench):
    """A card by the interpreter: no graph, and the launch that a step is."""

    @property
    def on_gpu(self) -> bool:
        return True

    def wait(self) -> None:
        pass

    def seconds(self, step: Callable[[], object], at_least: float = 1.0, rounds: int = 5) -> float:
        return 1.0

    def graphed(self, step: Callable[[], object]) -> Callable[[], object]:
        return step

    def kernels(self, step: Callable[[], object]) -> list[str]:
        return ["signed_sgd_kernel"]


@interpreted
def test_the_acceptance_passes_by_both_alignments_and_by_a_whole_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks are stepped by loads of 16 bytes, which one misaligned tensor takes from all of its launch."""
    numbers = {"momentum": 0.9, "weight_decay": 5e-4, "maximize": True, "scaled": False}
    monkeypatch.setattr(steps, "_numbers", lambda: iter([numbers]))
    monkeypatch.setattr(steps, "SHARE", 0.0)
    monkeypatch.setattr(steps, "SHAPES", {name: steps.SHAPES[name] for name in ("odd", "block", "gaps", "empty")})
    layers = {"stem": nn.Conv2d(3, 8, 3), "layer3": nn.Conv2d(8, 40, 3), "fc": nn.Linear(40, 5)}
    monkeypatch.setattr(steps, "build", lambda *arguments: nn.Sequential(OrderedDict(layers)))
    here = OnGpu(torch.device("cpu"), tiny=True)
    assert steps.signed_step(here)["passed"]

    with monkeypatch.context() as patched:
        patched.setattr(steps, "MISALIGNED", {})
        assert not steps.signed_step(here)["passed"], "the other alignment was not stepped"
    with monkeypatch.context() as patched:
        patched.setattr(steps, "SHAPES", steps.SHAPES | steps.MISALIGNED)
        assert not steps.signed_step(here)["passed"], "nor this one"

    launch = SignedSGDTriton._launch

    def fault(self: SignedSGDTriton, table: Table, *arguments: Any) -> None:
        launch(self, table, *arguments)
        if len(table.addresses) == 5 * 6:  # the network's alone
            launch(self, table, *arguments)

    monkeypatch.setattr(SignedSGDTriton, "_launch", fault)
    figures = steps.signed_step(here)
    assert figures["worst_error_in_eps"] < steps.MOST_EPS < figures["resnet18"]["error_in_eps"]
    assert not figures["passed"]


@interpreted
def test_a_group_added_late_gets_its_own_numbers() -> None:
    optimizer, params = two_sides()
    optimizer.step()
    late = torch.zeros(7, requires_grad=True)
    late.grad = torch.ones(7)
    optimizer.add_param_group({"params": [late], "lr": 3.0})
    optimizer.step()
    assert late.tolist() == [-3.0] * 7
    assert params[0][0].item() == 2.0


@pytest.mark.gpu
@gpu
def test_on_a_gpu_one_step_is_one_launch_and_agrees_with_the_reference() -> None:
    optimizer, params = two_sides(momentum=0.9, weight_decay=0.01)
    twins = [p.detach().clone().requires_grad_() for p in params]
    for p, twin in zip(params, twins, strict=True):
        assert p.grad is not None
        twin.grad = p.grad.clone()
    groups = [{"params": twins[:3], "maximize": True}, {"params": twins[3:]}]
    reference = SignedSGD(groups, lr=1.0, momentum=0.9, weight_decay=0.01, backend="reference")
    for _ in range(3):
        optimizer.step()
        reference.step()
    torch.testing.assert_close(params, twins)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        optimizer.step()
        torch.cuda.synchronize()
    kernels = [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    assert [name for name in kernels if "Memcpy" not in name] == ["signed_sgd_kernel"]


@pytest.mark.gpu
@gpu
def test_on_a_gpu_a_captured_graph_survives_a_change_of_phase() -> None:
    optimizer, params = two_sides()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        optimizer.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    optimizer.param_groups[0].update(lr=10.0, maximize=False)
    optimizer.refresh()
    graph.replay()
    torch.cuda.synchronize()
    assert params[0][0].item() == -9.0
    assert params[-1][0].item() == -2.0


@pytest.mark.skipif(INTERPRETED or ON_GPU, reason="here Triton can run")
def test_asking_for_triton_without_a_gpu_is_an_error() -> None:
    optimizer, params = two_sides()
    with pytest.raises(RuntimeError, match=r"'triton' needs a GPU, found parameters on cpu"):
        optimizer.step()
    assert all(p.eq(0).all() for p in params)


@pytest.mark.skipif(INTERPRETED or ON_GPU, reason="here Triton can run")
@pytest.mark.parametrize(
    "error",
    [
        subprocess.CalledProcessError(1, ["gcc", "main.c"]),
        RuntimeError("Failed to find C compiler.\nPlease specify one"),
        RuntimeError("0 active drivers ([]). There should only be one."),
        AssertionError("libcuda.so cannot found!\n"),
        FileNotFoundError(2, "No such file or directory", "/sbin/ldconfig"),
        ImportError("cuda_utils.so: undefined symbol"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_triton_that_cannot_compile_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    class Driver:
        @property
        def active(self) -> None:
            raise error

    monkeypatch.setattr(signed_sgd_triton.triton.runtime, "driver", Driver())
    with pytest.raises(SystemExit) as ended, one_line_errors("train@seal-0"):
        SignedSGDTriton(torch.device("cuda"))
    message = str(ended.value)
    assert message.startswith("train@seal-0: runtime.optimizer_backend: backend 'triton' cannot build its launcher: ")
    assert "(gcc, python3-dev), or use backend 'reference'; " in message
    assert type(error).__name__ in message
    assert "\n" not in message
