"""Masks of weights: by a draw of each element, by the order of filters, and by magnitude.

Knows tensors alone. A mask is true where a weight stays; it depends on no memory layout.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def of_elements(shape: torch.Size, share: float, generator: torch.Generator) -> Tensor:
    """Each element true with chance `share`, on the CPU."""
    return torch.rand(shape, generator=generator) < share


def of_filters(shape: torch.Size, share: float, all_outputs: bool = False, all_inputs: bool = False) -> Tensor:
    """The first ceil(share * outputs) filters with the first ceil(share * inputs) kernels of each, or all of them."""
    outputs = shape[0] if all_outputs else math.ceil(share * shape[0])
    inputs = shape[1] if all_inputs else math.ceil(share * shape[1])

    mask = torch.zeros(shape, dtype=torch.bool)
    mask[:outputs, :inputs] = True
    return mask


def largest(values: Mapping[str, Tensor], share: float, among: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The elements of largest magnitude over all tensors together: exactly round(share * all), ties by order.

    Chosen among those that are true in `among`, where it names the tensor: such masks are nested.
    """
    magnitudes = []
    for name, value in values.items():
        magnitude = value.detach().abs()
        if name in among:
            magnitude = magnitude.masked_fill(~among[name].to(value.device), -1.0)
        magnitudes.append(magnitude.flatten())

    flat = torch.cat(magnitudes)
    chosen = flat.sort(descending=True, stable=True).indices[: round(share * len(flat))]
    kept = torch.zeros(flat.shape, dtype=torch.bool, device=flat.device).index_fill_(0, chosen, True)

    sizes = [value.numel() for value in values.values()]
    masks = {}
    for (name, value), piece in zip(values.items(), torch.split(kept, sizes), strict=True):
        masks[name] = piece.view(value.shape)
    return masks
