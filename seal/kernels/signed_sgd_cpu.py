"""The signed step on a CPU: torch's own fused SGD, once for each group; `backends` loads it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from seal.kernels.memory import in_one_order
from seal.kernels.signed_sgd import Group

# The unit that torch's kernel shares among threads, and its longest vector. In a tensor that does not fill its last
# line it rounds mu*m + d one way in the vector body and another in the scalar tail (a third of random float32 values
# differ in the last bit; torch 2.10, AVX-512). Multiplied by mu before, with 1 for mu, both have one rounding to make.
LINE_BYTES = 64


def signed_sgd_cpu(groups: Sequence[Group], grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
    """The signed step by `torch._fused_sgd_`, which walks memory without a look at strides."""
    if found_inf is not None and found_inf.item():
        return

    with in_one_order(groups, write_grads=grad_scale is not None) as ordered:
        for group in ordered:
            _step_group(group, grad_scale)


def _step_group(group: Group, grad_scale: Tensor | None) -> None:
    """Tensors that do not fill their last line first, with the product mu*m made beforehand; then the others."""
    mu, whole = group.momentum, [list(group.params), list(group.grads), list(group.buffers)]
    ragged = [i for i, p in enumerate(group.params) if mu and p.nbytes % LINE_BYTES]

    if ragged:
        tails: list[list[Tensor]] = [[], [], []]
        for tail, tensors in zip(tails, whole, strict=True):
            for i in reversed(ragged):
                tail.append(tensors.pop(i))

        for m in tails[2]:
            m.mul_(mu)
        _fused(tails, 1.0, group, grad_scale)

    if whole[0]:
        _fused(whole, mu, group, grad_scale)


def _fused(tensors: list[list[Tensor]], momentum: float, group: Group, grad_scale: Tensor | None) -> None:
    torch._fused_sgd_(
        *tensors, lr=float(group.lr), momentum=momentum, weight_decay=group.weight_decay, maximize=group.maximize,
        dampening=0.0, nesterov=False, is_first_step=False, grad_scale=grad_scale,
    )  # fmt: skip
