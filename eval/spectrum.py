"""Eigenvalues of a symmetric operator H that is known by its products alone: how good they are, and their statistics.

eval/lanczos.py and eval/power_iteration.py find them, for eval/hessian.py.

Products and orthogonalisation are rounded, differently on every processor: what is below ROUNDING unit roundoffs of the
operator's scale is noise, and counts as zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from seal.errors import UserError

Product = Callable[[Tensor], Tensor]  # [n] -> [n]
Order = Literal["magnitude", "value"]

# In units of the vectors' dtype (eps). A product's error is a few of them, whatever the number of rows: each row's is
# relative to the row, and a second pass of orthogonalisation takes off what the first left along the basis.
ROUNDING = 100

NOT_FINITE = "a Hessian-vector product is not finite; the network's loss or weights are not"


class NotConverged(UserError):
    """An eigenvalue that is not known to the accuracy asked for; the message gives its residual."""


@dataclass(frozen=True)
class Eigenvalues:
    """The k largest by magnitude or by value, in falling order."""

    values: Tensor  # float64 [k]; what is within rounding of the largest is zero
    residuals: Tensor  # float64 [k], as `relative_residuals` defines them, by one more product each
    products: int  # with those


def gap(product: Product, value: float, vector: Tensor) -> float:
    """|Hv - lv| of a vector of any length, made one of length 1."""
    vector = vector / vector.norm()
    return float((product(vector) - value * vector).norm())


def rounding(vector: Tensor) -> float:
    """The share of an operator's scale that rounding alone comes to, in products with vectors like this one."""
    return ROUNDING * torch.finfo(vector.dtype).eps


def relative_residuals(gaps: Tensor, values: Tensor, noise: float, tolerance: float) -> Tensor:
    """|Hv - lv| / |l|, float64 [k]; a gap that is `noise` counts as `tolerance`, however small |l| is."""
    return gaps / values.abs().clamp(min=noise / tolerance).clamp(min=torch.finfo(torch.float64).tiny)


def without_noise(values: Tensor, noise: float) -> Tensor:
    """The same with zero for what rounding could have made of it: its sign would be the processor's."""
    return torch.where(values.abs() <= noise, 0.0, values)


def summary(batches: Sequence[Eigenvalues], resamples: int, generator: torch.Generator) -> dict[str, Any]:
    """Table 6's statistics over M batches: the largest eigenvalue, and the share of negative ones.

    Its interval is the 95% percentile bootstrap over batches, since a batch's eigenvalues belong together. Where no
    batch has a negative one, the upper limit is 1 - 0.05^(1/M): a batch has one with at most that probability.
    """
    values = torch.stack([batch.values for batch in batches])  # [M, k]
    largest = values.amax(1)
    shares = (values < 0).double().mean(1)

    drawn = torch.randint(len(batches), (resamples, len(batches)), generator=generator)
    interval = shares[drawn].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))

    return {
        "max_eigenvalue": largest.max().item(),
        "max_eigenvalue_median": largest.quantile(0.5).item(),
        "negative_fraction": shares.mean().item(),
        "negative_interval": interval.tolist(),
        "negative_upper_limit": None if shares.any() else 1 - 0.05 ** (1 / len(batches)),
        "batches": len(batches),
        "products": sum(batch.products for batch in batches),
        "largest_residual": max(batch.residuals.max().item() for batch in batches),
    }
