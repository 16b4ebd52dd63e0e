"""Signed steps to test: layouts, drawn numbers, and one step of any backend on them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from seal.optim import SignedSGD

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

# test_triton_interpreter.py runs the tests of this matrix once more for Triton, in a process of its own.
FUSED = ["triton"] if INTERPRETED else ["cpu"]
ALL = FUSED if INTERPRETED else ["reference", *FUSED]
FEW = settings(max_examples=15 if INTERPRETED else 40)

# STYLE's shapes: name -> (shape, memory). "gaps" and "transposed" are walked in copies, "channels" as they lie.
LAYOUTS = {
    "scalar": ((), "contiguous"),
    "tiny": ((1,), "contiguous"),
    "below a block": ((16, 6), "contiguous"),
    "a whole line": ((16,), "contiguous"),
    "not a power of two": ((3, 67, 5), "contiguous"),
    "large": ((12_417,), "contiguous"),
    "empty": ((0, 3), "contiguous"),
    "channels last": ((8, 5, 3, 3), "channels"),
    "gaps": ((11, 7), "gaps"),
    "transposed": ((13, 9), "transposed"),
    "misaligned": ((4099,), "misaligned"),
}


@dataclass(frozen=True)
class Numbers:
    """What a group holds."""

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.01
    maximize: bool = False


def lay_out(values: Sequence[float], name: str, dtype: torch.dtype) -> Tensor:
    """A tensor of that layout whose elements, in logical order, are the values over and over."""
    shape, memory = LAYOUTS[name]
    size = torch.Size(shape).numel()
    logical = torch.tensor(values, dtype=dtype).repeat(-(-size // len(values)) or 1)[:size].reshape(shape)
    match memory:
        case "channels":
            return logical.contiguous(memory_format=torch.channels_last)
        case "gaps":
            return torch.stack([logical, logical], dim=-1)[..., 0]
        case "transposed":
            return logical.t().contiguous().t()
        case "misaligned":
            return torch.cat([logical[:1], logical])[1:]
    return logical


def step(
    backend: str, params: Sequence[Tensor], grads: Sequence[Tensor], buffers: Sequence[Tensor | None], numbers: Numbers
) -> tuple[list[Tensor], list[Tensor | None]]:
    """One step of one group, on copies with the same strides. Returns the parameters and the momentum buffers."""
    return steps(backend, [(params, grads, buffers, numbers)])[0]


def steps(backend: str, groups: Sequence[Any]) -> list[tuple[list[Tensor], list[Tensor | None]]]:
    """One step of several groups (params, grads, buffers, numbers)."""
    kept = [[copy(p).requires_grad_() for p in params] for params, _, _, _ in groups]
    optimizer = SignedSGD([{"params": params} for params in kept], lr=0.0, backend=backend)

    for group, params, (_, grads, buffers, numbers) in zip(optimizer.param_groups, kept, groups, strict=True):
        group.update(vars(numbers))
        for p, g, m in zip(params, grads, buffers, strict=True):
            p.grad = copy(g)
            if m is not None:
                optimizer.state[p]["momentum_buffer"] = copy(m)

    optimizer.step()
    state = optimizer.state
    return [([p.detach() for p in params], [state[p].get("momentum_buffer") for p in params]) for params in kept]


def copy(t: Tensor) -> Tensor:
    """A copy with the same strides, gaps included."""
    if t.is_contiguous() and t.data_ptr() % 16 == 0:
        return t.clone()
    whole = torch.empty(t.storage_offset() + 2 * t.numel() + 1, dtype=t.dtype)
    return whole.as_strided(t.shape, t.stride(), t.storage_offset()).copy_(t)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit: -0.0 is not 0.0."""
    bits = {4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(bits), b.contiguous().view(bits))


def values(dtype: torch.dtype, largest: float = 2.0**90) -> st.SearchStrategy[float]:
    """Any number of that format up to `largest`, which no step below makes overflow; subnormal numbers and -0.0 too."""
    return st.floats(-largest, largest, width=32 if dtype is torch.float32 else 64)


def triples(dtype: torch.dtype) -> st.SearchStrategy[list[tuple[float, float, float]]]:
    """Parameter, gradient, momentum."""
    number = values(dtype)
    return st.lists(st.tuples(number, number, number), min_size=1, max_size=9)


def rates(largest: float) -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(2.0**-30, largest)


def numbers() -> st.SearchStrategy[Numbers]:
    return st.builds(Numbers, rates(2.0), rates(1.0), rates(1.0), st.booleans())
