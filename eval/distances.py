"""Squared L2 distances between rows: fast in float32 with a bound on their error, or from differences in float64."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

Features = Tensor | npt.NDArray[np.generic]


def as_rows(features: Features, device: torch.device | None) -> Tensor:
    """A contiguous matrix [N, D] of float32, or of float64 where the values came so, on `device` if one is given."""
    if isinstance(features, np.ndarray):  # torch takes neither negative strides nor, silently, read-only memory
        features = torch.from_numpy(np.require(features, requirements=["C", "W"]))
    if features.ndim != 2:
        raise ValueError(f"features have shape {tuple(features.shape)}, expected two dimensions: rows and features")
    held_by_float32 = features.dtype in (torch.float32, torch.float16, torch.bfloat16)
    dtype = torch.float32 if held_by_float32 else torch.float64
    return features.detach().to(device or features.device, dtype).contiguous()


def row_squares(rows: Tensor, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """|x|^2 of each row, float64 [N], from norms in `dtype` over slices of `width` features."""
    total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
    for part in torch.split(rows, width, dim=1):
        total += torch.linalg.vector_norm(part.to(dtype), dim=1).double().square_()
    return total


def sliced_products(query: Tensor, batch: Tensor, width: int, dtype: torch.dtype) -> Tensor:
    """query @ batch.T [Q, B] from products over slices of `width` features: no term goes through more than
    `chain_length` roundings, where one sum over all features could take as many as there are features."""
    total = torch.zeros(len(query), len(batch), dtype=dtype, device=query.device)
    product = torch.empty_like(total)
    for start in range(0, query.shape[1], width):
        x, y = (rows[:, start : start + width].to(dtype) for rows in (query, batch))
        if start == 0:
            torch.mm(x, y.T, out=total)
        else:
            total += torch.mm(x, y.T, out=product)
    return total


def chain_length(features: int, width: int) -> int:
    """The most roundings that a term of sliced_products goes through."""
    return min(width, features) + -(-features // width)


def relative_error(roundings: int, dtype: torch.dtype) -> float:
    """n u / (1 - n u): what n roundings come to at most (Higham 2002, lemma 3.1).

    Raises ValueError where that says nothing.
    """
    share = roundings * torch.finfo(dtype).eps / 2
    if share > 0.5:
        raise ValueError(f"{roundings} roundings of {dtype} leave no digit; use the torch backend with narrower slices")
    return share / (1 - share)


def pairs_at_once(features: int, device: torch.device) -> int:
    """How many pairs' differences are formed at once. On a CPU what stays in cache: 15 us a pair of 8,192 features
    against 35 with eight times as many."""
    return max(2, (2**24 if device.type == "cuda" else 2**16) // max(1, features))


def exact_distances(query: Tensor, rows: Tensor, batch: Tensor, columns: Tensor) -> Tensor:
    """Squared distances, float64 [P], of the pairs (query[rows], batch[columns]), from their differences.

    In chunks of one shape: a sum's order may depend on the shape, and rows that repeat must tie to the last bit.
    """
    size = pairs_at_once(query.shape[1], query.device)
    distances = torch.empty(len(rows), dtype=torch.float64, device=query.device)
    for start in range(0, len(rows), size):
        mine, theirs = rows[start : start + size], columns[start : start + size]
        filled = len(mine)
        mine, theirs = (pad(index, (0, size - filled)) for index in (mine, theirs))
        difference = query.index_select(0, mine).double().sub_(batch.index_select(0, theirs).double())
        distances[start : start + filled] = difference.square_().sum(1)[:filled]
    return distances
