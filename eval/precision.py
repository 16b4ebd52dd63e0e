"""Full float32: that products and convolutions do not round their factors to TF32 or bfloat16, as torch may.

The Hessian switches it on and the nearest neighbours ask for it. torch 2.9 has switches of other names, and warns of
the older ones, which an older torch has alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import backends

BY_PRECISION = hasattr(backends.cudnn, "conv")  # torch 2.9's: a precision for each kind of operation


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 in products and convolutions, which cuDNN takes by default: it would keep three digits."""
    convolutions: Any = getattr(backends.cudnn, "conv", backends.cudnn)
    switch, full = ("fp32_precision", "ieee") if BY_PRECISION else ("allow_tf32", False)
    with ExitStack() as stack:
        for place in (backends.cuda.matmul, convolutions):
            stack.callback(setattr, place, switch, getattr(place, switch))
            setattr(place, switch, full)
        yield


def refuse_reduced_precision(device: torch.device) -> None:
    """Raise ValueError where torch may round a float32 product's factors (TF32, bfloat16): no bound would hold."""
    place: Any = backends.cuda if device.type == "cuda" else backends.mkldnn
    precision = place.matmul.fp32_precision if BY_PRECISION else torch.get_float32_matmul_precision()
    if precision not in ("none", "ieee", "highest"):
        raise ValueError(f"float32 products are set to {precision} on {device.type}, expected full float32 (`ieee`)")
    if torch.is_autocast_enabled(device.type):
        raise ValueError("found autocast, which rounds float32 products; call outside of it")
