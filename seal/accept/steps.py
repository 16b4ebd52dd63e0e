"""The signed step on the device: its bits against the reference, its launches, its share of the bandwidth."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from seal.accept.bench import Bench, Result
from seal.accept.environment import copy_rate
from seal.accept.subjects import CLASSES
from seal.models import build
from seal.optim import SignedSGD
from seal.rng import stream
from seal.split import split_parameters

SHAPES: dict[str, tuple[int, ...]] = {
    "scalar": (), "one": (1,), "small": (16, 6), "odd": (3, 67, 5), "block": (2048,), "large": (12_417,),
    "empty": (0, 3), "blocks": (70_001,), "channels_last": (8, 5, 3, 3), "gaps": (11, 7),
}  # fmt: skip
# One such tensor takes a launch's loads of 16 bytes from all: so cases run without it, as networks do, and with it.
MISALIGNED: dict[str, tuple[int, ...]] = {"misaligned": (4099,)}
MOST_EPS = 16  # an error of three steps against float64, in eps of the largest value
SHARE = 0.85  # of the bandwidth of a copy, to be reached
BYTES = 20  # that a step moves of a float32 parameter: p, g and m are read, p and m written


def signed_step(bench: Bench) -> Result:
    """Every layout and number against the reference on the device and in float64 on the CPU; then its speed."""
    backend = "triton" if bench.on_gpu else "cpu"
    cases, differing, worst, reached = 0, 0, 0.0, True
    for dtype, numbers, shapes in product((torch.float32, torch.float64), _numbers(), (SHAPES, SHAPES | MISALIGNED)):
        ours, alignment = stepped(backend, bench.device, dtype, dtype, numbers, shapes)
        reference, _ = stepped("reference", bench.device, dtype, dtype, numbers, shapes)
        exact, _ = stepped("reference", torch.device("cpu"), torch.float64, dtype, numbers, shapes)
        reached &= alignment == (16 if shapes is SHAPES else dtype.itemsize)

        for mine, theirs, truth in zip(ours, reference, exact, strict=True):
            if mine.numel():
                cases += 1
                differing += not torch.equal(mine, theirs)
                worst = max(worst, gap_in_eps(mine, truth))

    figures: Result = {"cases": cases, "not_bit_equal_to_reference": differing, "worst_error_in_eps": worst}
    figures["each_alignment_was_stepped"] = reached if bench.on_gpu else None
    for depth in (18,) if bench.tiny else (18, 50):
        speed = _speed(bench, backend, depth)
        worst = max(worst, speed["error_in_eps"])
        reached &= speed["alignment"] == 16 and len(speed["kernels"]) == 1 and speed["share_of_copy"] >= SHARE
        figures[f"resnet{depth}"] = speed
    return figures | {"passed": worst < MOST_EPS and (reached or not bench.on_gpu)}


def gap_in_eps(mine: Tensor, truth: Tensor) -> float:
    """Largest error against float64, in eps of the largest value."""
    gap = (mine.double() - truth).abs().max() / truth.abs().max().clamp_min(1e-30)
    return float(gap) / torch.finfo(mine.dtype).eps


def _numbers() -> Iterator[dict[str, Any]]:
    for momentum, decay, maximize, scaled in product((0.0, 0.9), (0.0, 5e-4), (False, True), (False, True)):
        yield {"momentum": momentum, "weight_decay": decay, "maximize": maximize, "scaled": scaled}


def stepped(
    backend: str, device: torch.device, kind: torch.dtype, drawn: torch.dtype, numbers: dict[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
) -> tuple[list[Tensor], int | None]:  # fmt: skip
    """The parameters after three steps, of values drawn in `drawn`, and what `alignment_of` says of the last; every
    second group's sign is the other one."""
    generator = torch.Generator().manual_seed(0)
    params, gradients = [], []
    for name, shape in shapes.items():
        parameter = torch.randn(shape, generator=generator, dtype=drawn).to(device, kind)
        gradient = torch.randn(shape, generator=generator, dtype=drawn).to(device, kind)
        params.append(_laid(parameter, name).requires_grad_())
        gradients.append(_laid(gradient, name))

    half = len(params) // 2
    groups = [
        {"params": params[:half], "maximize": numbers["maximize"]},
        {"params": params[half:], "lr": 0.003},
    ]
    optimizer = SignedSGD(
        groups, lr=0.01, momentum=numbers["momentum"], weight_decay=numbers["weight_decay"], backend=backend
    )

    for _ in range(3):
        for parameter, gradient in zip(params, gradients, strict=True):
            parameter.grad = gradient.clone(memory_format=torch.preserve_format)
        if numbers["scaled"]:
            optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(0.0)  # type: ignore[attr-defined]
        optimizer.step()

    return [parameter.detach().cpu() for parameter in params], alignment_of(optimizer)


def alignment_of(optimizer: SignedSGD) -> int | None:
    """What the last step's launches took all addresses to be multiples of, in bytes; None where none was launched."""
    tables = getattr(optimizer._load().step, "tables", {})
    return min((table.alignment for table in tables.values()), default=None)


def _laid(values: Tensor, name: str) -> Tensor:
    """The values in the memory layout that the name says."""
    if name == "channels_last":
        return values.contiguous(memory_format=torch.channels_last)
    if name == "gaps":
        return torch.stack([values, values], -1)[..., 0]
    if name == "misaligned":
        return torch.cat([values.flatten()[:1], values.flatten()])[1:]
    return values


def _speed(bench: Bench, backend: str, depth: int) -> Result:
    """Of two groups, one of which climbs, of a whole network's tensors; and its parameters against float64."""
    section: Any = SimpleNamespace(depth=depth, width=4 if bench.tiny else 64, stem="imagenet", classifier_bias="zero")
    model = build(section, CLASSES, stream(0, "initialisation"), bench.device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    moved = BYTES * sum(parameter.numel() for parameter in model.parameters())
    error = _error_of(model, backend)

    ours = SignedSGD(_groups(model), lr=1e-6, momentum=0.9, weight_decay=5e-4, backend=backend)
    ours.step()
    speed: Result = {
        "error_in_eps": error,
        "alignment": alignment_of(ours),
        "us_a_step": bench.seconds(ours.step, 0.3) * 1e6,
        "GB_s_in_a_graph": moved / bench.seconds(bench.graphed(ours.step), 0.3) / 1e9,
        "copy_GB_s": copy_rate(bench, moved // 8),
        "kernels": bench.kernels(ours.step),
    }
    for form in ("fused", "foreach"):
        theirs = torch.optim.SGD(_groups(model), lr=1e-6, momentum=0.9, weight_decay=5e-4, **{form: True})
        theirs.step()
        speed[f"torch_{form}_us_a_step"] = bench.seconds(theirs.step, 0.2) * 1e6
    return speed | {"share_of_copy": speed["GB_s_in_a_graph"] / speed["copy_GB_s"]}


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    split = split_parameters(model, "layer3")
    return [{"params": list(split.early.values()), "maximize": True}, {"params": list(split.late.values())}]


def _error_of(model: nn.Module, backend: str) -> float:
    """After three steps of the model, whose gradients stay: the largest of all tensors' errors, in eps."""
    exact = deepcopy(model).double()
    for parameter, twin in zip(model.parameters(), exact.parameters(), strict=True):
        assert parameter.grad is not None
        twin.grad = parameter.grad.double()

    for network, stepping in ((model, backend), (exact, "reference")):
        optimizer = SignedSGD(_groups(network), lr=0.01, momentum=0.9, weight_decay=5e-4, backend=stepping)
        for _ in range(3):
            optimizer.step()
    pairs = zip(model.parameters(), exact.parameters(), strict=True)
    return max(gap_in_eps(parameter.detach(), twin.detach()) for parameter, twin in pairs)
