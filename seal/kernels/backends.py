"""Which versions of the signed step there are, and which can run where; `optim` loads one of them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from torch import Tensor, device

from seal.kernels.checks import BackendError
from seal.kernels.signed_sgd import Group, Step, reference

BACKENDS = ("reference", "cpu", "triton")


def nothing(groups: Sequence[Group]) -> None:
    pass


@dataclass(frozen=True)
class Kernel:
    """A version of the step, ready to run."""

    step: Step
    refresh: Callable[[Sequence[Group]], None] = nothing  # mirrors the groups' numbers to where it reads them
    # Steps once more what the last step has stepped, for who knows that nothing has moved: by the groups' numbers,
    # grad_scale and found_inf. False where it cannot.
    again: Callable[[Sequence[Group], Tensor | None, Tensor | None], bool] | None = None
    capturing: Callable[[], AbstractContextManager[None]] = nullcontext  # around the capture of a CUDA graph


def load(backend: str, on: device) -> Kernel:
    """The version of that name for tensors on that device. Raises BackendError where it can't run."""
    match backend:
        case "cpu":
            if on.type != "cpu":
                raise BackendError(f"backend 'cpu' can't step parameters on {on}: use 'triton', 'reference' or 'auto'")
            from seal.kernels.signed_sgd_cpu import signed_sgd_cpu

            return Kernel(signed_sgd_cpu)

        case "triton":
            from seal.kernels.signed_sgd_triton import SignedSGDTriton

            fused = SignedSGDTriton(on)
            return Kernel(fused, fused.refresh, fused.again, fused.graph)

    return Kernel(reference)
