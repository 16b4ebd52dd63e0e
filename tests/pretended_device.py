"""A device that is not there: its tensors carry values, compute as a CPU does, and keep to what a GPU's keep to.

A tensor moved to it says that it is on `meta`, for which autograd needs no driver. An operation on tensors of both
sides raises, unless it moves one or the CPU's is a single number; NumPy gets a tensor only by way of `.cpu()`. So what
runs here mixes no devices, and its values are the CPU's, bit for bit: what it cannot show is a GPU's own kernels.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
MOVES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class OnDevice(Tensor):
    """A tensor of the device. `numbers` are its values, in the CPU's memory, of which a view shares its part."""

    numbers: Tensor
    is_meta = False  # else a module says that loading weights into it does nothing

    @staticmethod
    def __new__(cls, values: Tensor) -> "OnDevice":
        tensor: OnDevice = Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), dtype=values.dtype, device=DEVICE
        )
        tensor.numbers = values
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(operation, args, kwargs or {})

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnDevice({self.numbers})"

    def __format__(self, format_spec: str) -> str:
        return format(self.numbers, format_spec)

    def tolist(self) -> Any:
        return self.numbers.tolist()

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.numbers.untyped_storage()


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(operation, args, kwargs or {})


class _Factories(TorchFunctionMode):
    """torch.tensor copies to a device below what a dispatch mode sees."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") is not None:
            return function(*args, **kwargs | {"device": "cpu"}).to(kwargs["device"])
        return function(*args, **kwargs)


def computed(operation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """An operation by the CPU's kernels, its results where a device's would be. Raises RuntimeError for a mixture."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    here = [tensor for tensor in tensors if tensor.ndim and not isinstance(tensor, OnDevice)]
    if there and here and operation not in MOVES:
        raise RuntimeError(f"{operation}: found tensors of the device and of the CPU, expected all on one")

    goes_to_device = bool(there)
    if kwargs.get("device") is not None:
        goes_to_device = torch.device(kwargs["device"]) == DEVICE
        kwargs = dict(kwargs) | {"device": torch.device("cpu")}

    values, named_values = tree_map(lambda leaf: leaf.numbers if isinstance(leaf, OnDevice) else leaf, (args, kwargs))
    results = operation(*values, **named_values)
    if operation is torch.ops.aten.copy_.default:
        return args[0]

    changed = {id(tensor.numbers): tensor for tensor in there}  # an operation in place gives back what it was given

    def placed(result: Any) -> Any:
        if not goes_to_device or not isinstance(result, Tensor):
            return result
        return changed[id(result)] if id(result) in changed else OnDevice(result)

    return tree_map(placed, results)


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """The device, which every stage is given within the block, whatever `runtime.device` says."""
    autocast: Callable[..., bool] = torch.is_autocast_enabled

    def is_autocast_enabled(*kind: str) -> bool:
        return kind != (DEVICE.type,) and autocast(*kind)

    with (
        mock.patch("seal.device.device_named", return_value=DEVICE),
        mock.patch("torch.is_autocast_enabled", is_autocast_enabled),
        _Factories(),
        _Operations(),
    ):
        yield DEVICE
