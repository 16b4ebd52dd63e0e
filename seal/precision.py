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
from torch import Tensor, backends, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from seal.errors import ConfigError

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
    with arithmetic(precision), autocast(precision, device):
        yield


@contextmanager
def autocast(precision: str, device: torch.device) -> Iterator[None]:
    """What bfloat16 casts, for a forward pass; nothing for the others."""
    with ExitStack() as stack:
        if precision == "bfloat16":
            stack.enter_context(torch.autocast(device.type, torch.bfloat16))
            if device.type == "cpu":
                stack.callback(register_module_forward_pre_hook(_refuse_unwritten).remove)
        yield


def _refuse_unwritten(module: nn.Module, inputs: Any) -> None:
    """Raise ConfigError before a convolution whose gradient in bfloat16 is wrong.

    oneDNN 3.7 (torch 2.10) by AVX-512 or AMX: where a padded convolution's stride is wider than its image, the
    gradient of its kernel holds what lay in memory before. Of 1,504 shapes all 179 wrong ones are such; float32 and
    AVX2 have none.
    """
    if isinstance(module, nn.Conv2d) and module.weight.requires_grad and torch.is_grad_enabled():
        images: Tensor = inputs[0]
        width, stride = images.shape[-1], module.stride[-1]
        if width < stride and any(_padding(module)):
            raise ConfigError(
                f"precision bfloat16: a convolution of stride {stride} meets images of width {width}, where torch's "
                "gradient on a CPU is wrong; set `precision: float32`, or give larger images"
            )


def _padding(convolution: nn.Conv2d) -> tuple[int, ...]:
    """In pixels; `same` counts as some."""
    if isinstance(convolution.padding, str):
        return (int(convolution.padding == "same"),)
    return convolution.padding


def refuse_reduced_precision(device: torch.device) -> None:
    """Raise ValueError where torch may round a float32 product's factors (TF32, bfloat16): no bound would hold."""
    place: Any = backends.cuda if device.type == "cuda" else backends.mkldnn
    precision = place.matmul.fp32_precision if BY_PRECISION else torch.get_float32_matmul_precision()
    if precision not in ("none", "ieee", "highest"):
        raise ValueError(f"float32 products are set to {precision} on {device.type}, expected full float32 (`ieee`)")
    if torch.is_autocast_enabled(device.type):
        raise ValueError("found autocast, which rounds float32 products; call outside of it")
