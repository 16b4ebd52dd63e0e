"""What a signed step refuses: groups, parameters and gradients that it could only step wrongly.

The optimizer asks before it changes anything. Kernels walk memory by the parameter's size and dtype, and trust this.
"""

from typing import Any

import torch
from torch import Tensor

from seal.kernels.signed_sgd import Group

DTYPES = (torch.float32, torch.float64)


class BackendError(RuntimeError):
    """A version of the step that can't run where the parameters are."""


def check_group(group: dict[str, Any]) -> None:
    """Raises ValueError for what torch's SGD does and this does not."""
    for key in ("dampening", "nesterov", "differentiable"):
        if group.get(key):
            raise ValueError(f"a group has {key}={group[key]!r}, which SignedSGD does not do: leave it out")


def no_parameter_twice(group: dict[str, Any]) -> dict[str, Any]:
    """The group, its parameters as a list. Raises ValueError for one that is there twice: it would be stepped twice."""
    if isinstance(group["params"], Tensor | set):  # a set is refused by torch, for its order
        return group

    params = list(group["params"])
    tensors = [id(entry[-1] if isinstance(entry, tuple) else entry) for entry in params]
    if len(set(tensors)) < len(tensors):
        raise ValueError("a parameter is twice in a group, expected it once: it would be stepped twice")
    return {**group, "params": params}


def check_parameter(p: Tensor) -> None:
    """Raises TypeError or ValueError for a parameter of another dtype or layout, and where elements share memory."""
    if p.dtype not in DTYPES:
        hint = "; keep float32 parameters and use torch.autocast" if p.dtype.itemsize == 2 else ""
        raise TypeError(f"a parameter is {p.dtype}, expected float32 or float64{hint}")

    if p.layout is not torch.strided:
        raise TypeError(f"a parameter is {p.layout}, expected a dense one")

    if p.is_neg():
        raise ValueError(f"a parameter of shape {tuple(p.shape)} is a lazily negated view: clone it")

    if any(stride == 0 and size > 1 for stride, size in zip(p.stride(), p.shape, strict=True)):
        raise ValueError(f"a parameter of shape {tuple(p.shape)} is expanded, its elements share memory: clone it")


def check_gradients(group: Group, device: torch.device) -> None:
    """Raises TypeError for a gradient or a momentum buffer that is not its parameter's."""
    strided = torch.strided
    for p, g, m in group.triples():
        dtype, size = p.dtype, p.shape
        if g.dtype is not dtype or g.shape != size or g.layout is not strided or g.device != device:
            raise TypeError(f"a gradient is {_kind(g)}, expected its parameter's {_kind(p)}, on {device}")
        if m is not None and (m.dtype is not dtype or m.shape != size or m.is_neg() or p.is_neg()):
            raise TypeError(f"a momentum buffer is {_kind(m)}, expected its parameter's {_kind(p)}")
        if dtype not in DTYPES:
            check_parameter(p)


def _kind(t: Tensor) -> str:
    return f"{t.dtype} {tuple(t.shape)} {t.layout} on {t.device}"
