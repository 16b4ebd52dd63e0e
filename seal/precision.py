"""In which arithmetic float32 products and convolutions are computed: said here, never left to torch's defaults.

    float32     24 bits everywhere
    tf32        a GPU's convolutions keep 10 bits of each factor, as torch does where nobody says anything; matrix
                products stay in float32, and a CPU computes as by float32
    bfloat16    torch.autocast: what it casts has 8 bits; the rest as by float32

Trainings and evaluations compute inside these blocks. torch 2.9 has switches of other names, and warns of the older
ones, which an older torch has alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import backends

BY_PRECISION = hasattr(backends.cudnn, "conv")  # torch 2.9's: a precision for each kind of operation


@contextmanager
def arithmetic(precision: str, products: bool = False) -> Iterator[None]:
    """What a GPU may round a float32 operation's factors to, within the block: `tf32` or nothing.

    `products`: let TF32 into matrix products too. No autocast: `computing` has it.
    """
    convolutions: Any = getattr(backends.cudnn, "conv", backends.cudnn)
    switch, rounded, full = ("fp32_precision", "tf32", "ieee") if BY_PRECISION else ("allow_tf32", True, False)
    asked = {convolutions: precision == "tf32", backends.cuda.matmul: precision == "tf32" and products}
    with ExitStack() as stack:
        for place, wanted in asked.items():
            stack.callback(setattr, place, switch, getattr(place, switch))
            setattr(place, switch, rounded if wanted else full)
        yield


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """All of a precision, autocast too: for a forward pass. A backward pass needs `arithmetic` alone."""
    with ExitStack() as stack:
        stack.enter_context(arithmetic(precision))
        if precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
        yield


def refuse_reduced_precision(device: torch.device) -> None:
    """Raise ValueError where torch may round a float32 product's factors (TF32, bfloat16): no bound would hold."""
    place: Any = backends.cuda if device.type == "cuda" else backends.mkldnn
    precision = place.matmul.fp32_precision if BY_PRECISION else torch.get_float32_matmul_precision()
    if precision not in ("none", "ieee", "highest"):
        raise ValueError(f"float32 products are set to {precision} on {device.type}, expected full float32 (`ieee`)")
    if torch.is_autocast_enabled(device.type):
        raise ValueError("found autocast, which rounds float32 products; call outside of it")


@contextmanager
def full_float32() -> Iterator[None]:
    """float32 with all of its bits, where fewer would spoil the result: the Hessian, the nearest neighbours."""
    with arithmetic("float32"):
        yield
