"""The outer eigenvalues of a symmetric operator H that is known by its products with vectors alone.

Products and orthogonalisation are rounded, differently on every processor: what is below ROUNDING unit roundoffs of the
operator's scale is noise, and counts as zero.
"""

import math
from collections.abc import Callable, Iterable, Sequence
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


class Krylov:
    """Lanczos' recurrence with full reorthogonalisation, which goes on from where it stands.

    That of hessian-eigenthings starts anew at each call: to find how many steps are needed would cost their sum.
    """

    def __init__(self, product: Product, start: Tensor) -> None:
        self.product = product
        self.products = 0
        self.basis = (start / start.norm())[None]  # [steps + 1, n], orthonormal rows
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.scale = 0.0  # a lower bound of |H|, by what was seen of it

    @property
    def steps(self) -> int:
        return len(self.alphas)

    def multiply(self, vector: Tensor) -> Tensor:
        self.products += 1
        return self.product(vector)

    def extend(self, steps: int) -> None:
        """Go on until `steps` steps are done, or as many as the operator has rows. Raises UserError for a product that
        is not finite."""
        size = self.basis.shape[1]
        steps = min(steps, size)
        self.basis = torch.cat([self.basis, self.basis.new_zeros(steps + 1 - len(self.basis), size)])
        for at in range(self.steps, steps):
            known = self.basis[: at + 1]
            row, alpha, beta = orthogonalised(self.multiply(known[at]), known)
            if not math.isfinite(alpha):
                raise UserError(NOT_FINITE)

            self.alphas.append(alpha)
            self.scale = max(self.scale, abs(alpha), beta)
            if beta <= rounding(known) * self.scale or at + 1 == size:
                # The space is exhausted: what is left of the row is noise, whose direction means nothing.
                beta = 0.0
                row = self.fresh_direction(at) if at + 1 < size else torch.zeros_like(row)
            self.betas.append(beta)
            self.basis[at + 1] = row

    def fresh_direction(self, at: int) -> Tensor:
        """A drawn row [n] of length 1, orthogonal to the first `at` + 1 of the basis."""
        generator = torch.Generator().manual_seed(at)
        drawn = torch.randn(self.basis.shape[1], dtype=torch.float64, generator=generator)
        return orthogonalised(drawn.to(self.basis), self.basis[: at + 1])[0]

    def ritz(self, count: int, order: Order) -> tuple[Tensor, Tensor, Tensor]:
        """The Ritz values [count], the vectors' coordinates [steps, count] and the residuals |Hv - lv| [count] that the
        recurrence promises, |beta_m s_mi| (Parlett 1998, 13.2)."""
        off = torch.tensor(self.betas[:-1], dtype=torch.float64)
        matrix = torch.diag(torch.tensor(self.alphas, dtype=torch.float64)) + off.diag(1) + off.diag(-1)
        values, vectors = torch.linalg.eigh(matrix)
        chosen = (values.abs() if order == "magnitude" else values).argsort(descending=True)[:count]
        return values[chosen], vectors[:, chosen], self.betas[-1] * vectors[-1, chosen].abs()

    def true_gaps(self, values: Tensor, coordinates: Tensor) -> Tensor:
        """|Hv - lv|, float64 [k], by one more product each."""
        vectors = coordinates.T.to(self.basis) @ self.basis[: self.steps]
        gaps = [gap(self.multiply, value, vector) for value, vector in zip(values.tolist(), vectors, strict=True)]
        return torch.tensor(gaps, dtype=torch.float64)


def lanczos(
    product: Product, start: Tensor, count: int, order: Order, *, tolerance: float, first_steps: int, max_steps: int
) -> Eigenvalues:
    """The `count` largest eigenvalues to a residual of `tolerance`: `first_steps` steps, then a quarter more until all
    have converged.

    A residual is |Hv - lv|, of |l| or of what rounding leaves of the largest, whichever is greater: the eigenvalues of
    an operator with zero ones converge too. Raises NotConverged beyond `max_steps` steps. One starting vector finds one
    of several equal eigenvalues.
    """
    if count > len(start):
        raise ValueError(f"found {len(start)} rows, expected at least as many as the {count} eigenvalues asked for")
    krylov = Krylov(product, start)
    steps, last = max(first_steps, count), min(max_steps, len(start))
    while True:
        krylov.extend(steps)
        values, coordinates, promised = krylov.ritz(count, order)
        noise = rounding(start) * krylov.scale

        if (relative_residuals(promised, values, noise, tolerance) <= tolerance).all() or steps >= last:
            gaps = krylov.true_gaps(values, coordinates)
            residuals = relative_residuals(gaps, values, noise, tolerance)
            if (residuals <= tolerance).all():
                return Eigenvalues(without_noise(values, noise), residuals, krylov.products)
            if steps >= last:
                raise NotConverged(
                    f"after {krylov.steps} Lanczos steps the largest residual |Hv - lv| / |l| is "
                    f"{residuals.max():.2g}, expected at most {tolerance:g}; raise max_steps or tolerance"
                )
        steps = min(steps + max(1, steps // 4), last)


def power_iteration(product: Product, starts: Iterable[Tensor], *, tolerance: float, max_steps: int) -> Eigenvalues:
    """One eigenvalue for each starting vector, by magnitude, as PyHessian finds them (Yao et al. 2020).

    Each vector is held orthogonal to the earlier ones; it is done when its value changes by less than `tolerance`,
    relative, or after `max_steps` products, or when its product is rounding noise: then its value is zero. Nothing is
    asked of the residuals, which tell how good that is. Raises UserError for a product that is not finite.
    """
    values: list[float] = []
    vectors: list[Tensor] = []
    gaps: list[float] = []
    products, noise = 0, 0.0
    for start in starts:
        if len(vectors) == len(start):
            raise ValueError(f"found {len(start)} rows, expected at least as many as there are starting vectors")
        vector, value = start, math.nan
        for _ in range(max_steps):
            for earlier in vectors:
                vector = vector - vector.dot(earlier) * earlier
            vector = vector / vector.norm()
            image = product(vector)
            products += 1

            length = image.norm()
            if not length.isfinite():
                raise UserError(NOT_FINITE)
            noise = max(noise, rounding(start) * length.item())
            if length <= noise:  # only what rounding left of the earlier vectors
                value = 0.0
                break

            quotient = vector.dot(image).item()
            vector = image / length
            if abs(value - quotient) / (abs(value) + 1e-6) < tolerance:
                break
            value = quotient
        values.append(value)
        vectors.append(vector)
        gaps.append(gap(product, value, vector))

    eigenvalues = torch.tensor(values, dtype=torch.float64)
    residuals = relative_residuals(torch.tensor(gaps, dtype=torch.float64), eigenvalues, noise, tolerance)
    order = eigenvalues.abs().argsort(descending=True)
    return Eigenvalues(without_noise(eigenvalues, noise)[order], residuals[order], products + len(values))


def orthogonalised(row: Tensor, known: Tensor) -> tuple[Tensor, float, float]:
    """A row [n] made orthogonal to orthonormal rows [m, n]: what is left, of length 1; its overlap with the last of
    them; the length that it had. Once more where a pass takes off more than half (Daniel et al. 1976)."""
    overlap, left = 0.0, row.norm().item()
    for _ in range(4):
        along = known @ row
        row = torch.addmv(row, known.T, along, alpha=-1)
        overlap += along[-1].item()
        left, before = row.norm().item(), left
        if left > before / 2:
            break
    return row / left if left else row, overlap, left


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
    shares = (values < 0).double().mean(1)
    drawn = torch.randint(len(batches), (resamples, len(batches)), generator=generator)
    interval = shares[drawn].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    largest = values.amax(1)
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
