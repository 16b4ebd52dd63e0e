"""How a fused step finds its tensors: triples that lie in memory alike, their addresses, and the blocks of work.

Called by the fused versions of the step, before they walk memory as it lies.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from seal.kernels.signed_sgd import Group


@contextmanager
def in_one_order(groups: Sequence[Group], write_grads: bool) -> Iterator[Sequence[Group]]:
    """The groups, with triples that can each be walked as flat memory: all three contiguous, or all channels-last.

    Any other triple is stepped in contiguous copies, and what the step wrote (gradients only where `write_grads`) is
    copied back at the end.
    """
    copies: list[tuple[Tensor, Tensor]] = []

    def contiguous(tensors: list[Tensor], odd: list[int], written: bool) -> list[Tensor]:
        stepped = list(tensors)
        for i in odd if tensors else ():
            stepped[i] = tensors[i].contiguous()
            if written and stepped[i] is not tensors[i]:
                copies.append((tensors[i], stepped[i]))

        return stepped

    ordered = []
    for group in groups:
        odd = [i for i, (p, g, m) in enumerate(group.triples()) if not _alike(p, g, m)]
        if odd:
            params = contiguous(group.params, odd, True)
            buffers = contiguous(group.buffers, odd, True)
            grads = contiguous(group.grads, odd, write_grads)
            group = replace(group, params=params, grads=grads, buffers=buffers)
        ordered.append(group)

    yield ordered

    for tensor, copy in copies:
        tensor.copy_(copy)


def _alike(p: Tensor, g: Tensor, m: Tensor | None) -> bool:
    if p.is_contiguous():
        return g.is_contiguous() and (m is None or m.is_contiguous())
    return all(t is None or t.is_contiguous(memory_format=torch.channels_last) for t in (p, g, m))


def share_no_memory(tensors: Sequence[Tensor]) -> None:
    """Raises ValueError where an element of one tensor is an element of another, or twice one of its own."""
    spans = []
    for tensor in tensors:
        if tensor.numel() and tensor.device.type != "meta" and tensor.layout is torch.strided:
            extent = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)) + 1
            if not _each_element_once(tensor) and len(torch.unique(_element_addresses(tensor))) < tensor.numel():
                raise ValueError(f"a parameter of shape {tuple(tensor.shape)} has elements that share memory: clone it")
            begin = tensor.data_ptr()
            spans.append((str(tensor.device), begin, begin + extent * tensor.itemsize, tensor))

    spans.sort(key=lambda span: span[:3])
    for index, (device, _, end, tensor) in enumerate(spans):
        for other_device, begin, _, other in spans[index + 1 :]:
            if other_device != device or begin >= end:
                break
            if torch.isin(_element_addresses(tensor), _element_addresses(other)).any():
                shapes = f"shapes {tuple(tensor.shape)} and {tuple(other.shape)}"
                raise ValueError(f"parameters of {shapes} share memory, expected each its own: clone one of them")


def _each_element_once(tensor: Tensor) -> bool:
    """Whether strides alone say so: each is longer than all that the shorter ones reach. Others need a look."""
    reached = 0
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride <= reached:
            return False
        reached += (size - 1) * stride
    return True


def _element_addresses(tensor: Tensor) -> Tensor:
    offsets = torch.zeros((), dtype=torch.int64)
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        offsets = offsets[..., None] + torch.arange(size) * stride
    return tensor.data_ptr() + offsets.flatten() * tensor.itemsize


def addresses(groups: Sequence[Group], dtype: torch.dtype) -> "array[int]":
    """Five int64 for each tensor of that dtype: the addresses of p, g and m (0 where there is none), size, group."""
    table = array("q")
    for i, group in enumerate(groups):
        for p, g, m in group.triples():
            if p.dtype is dtype:
                table.extend((p.data_ptr(), g.data_ptr(), 0 if m is None else m.data_ptr(), p.numel(), i))
    return table


def places(groups: Sequence[Mapping[str, Any]], state: Mapping[Tensor, Mapping[str, Any]]) -> list[Any]:
    """Where each parameter of an optimizer's groups, its gradient and its momentum lie, and how: two steps that find
    the same are of the same memory."""
    marks: list[Any] = []
    for group in groups:
        marks.append(bool(group["momentum"]))
        for p in group["params"]:
            g, m = p.grad, state[p].get("momentum_buffer")
            marks.append(p.shape if g is not None else None)
            if g is not None:
                marks += (p.data_ptr(), p.stride(), g.data_ptr(), g.stride(), g.dtype, m is not None and m.data_ptr())
    return marks


@lru_cache(maxsize=8)
def work_blocks(sizes: tuple[int, ...], block: int) -> Tensor:
    """The work as int32 [blocks, 2]: a tensor, and the block within it; large and small tensors share one loop."""
    counts = torch.tensor([-(-size // block) for size in sizes])
    tensor = torch.repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    return torch.stack([tensor, torch.arange(len(tensor)) - first[tensor]], dim=1).int()


def numbers(group: Group) -> tuple[float, float, float, float]:
    """What a fused step reads for a group: learning rate, momentum, weight decay, sign."""
    return float(group.lr), group.momentum, group.weight_decay, -1.0 if group.maximize else 1.0
