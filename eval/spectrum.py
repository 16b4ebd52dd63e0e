"""The outer eigenvalues of a symmetric operator H that is known by its products with vectors alone."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from seal.errors import UserError

Product = Callable[[Tensor], Tensor]  # [n] -> [n]
Order = Literal["magnitude", "value"]


class NotConverged(UserError):
    """An eigenvalue that is not known to the accuracy asked for; the message gives its residual."""


@dataclass(frozen=True)
class Eigenvalues:
    """The k largest by magnitude or by value, in falling order."""

    values: Tensor  # float64 [k]
    residuals: Tensor  # float64 [k], |Hv - lv| / |l|, by one more product each
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
                raise UserError("a Hessian-vector product is not finite; the network's loss or weights are not")
            if beta == 0 and at + 1 < size:  # nothing new: any other direction does
                fresh = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(at))
                row, _, _ = orthogonalised(fresh.to(known), known)
            self.alphas.append(alpha)
            self.betas.append(beta if at + 1 < size else 0.0)
            self.basis[at + 1] = row

    def ritz(self, count: int, order: Order) -> tuple[Tensor, Tensor, Tensor]:
        """The Ritz values [count], the vectors' coordinates [steps, count] and the residuals |Hv - lv| [count] that the
        recurrence promises, |beta_m s_mi| (Parlett 1998, 13.2)."""
        off = torch.tensor(self.betas[:-1], dtype=torch.float64)
        matrix = torch.diag(torch.tensor(self.alphas, dtype=torch.float64)) + off.diag(1) + off.diag(-1)
        values, vectors = torch.linalg.eigh(matrix)
        chosen = (values.abs() if order == "magnitude" else values).argsort(descending=True)[:count]
        return values[chosen], vectors[:, chosen], self.betas[-1] * vectors[-1, chosen].abs()

    def true_residuals(self, values: Tensor, coordinates: Tensor) -> Tensor:
        """|Hv - lv| / |l|, float64 [k]."""
        vectors = coordinates.T.to(self.basis) @ self.basis[: self.steps]
        found = [residual(self.multiply, *pair) for pair in zip(values.tolist(), vectors, strict=True)]
        return torch.tensor(found, dtype=torch.float64)


def lanczos(
    product: Product, start: Tensor, count: int, order: Order, *, tolerance: float, first_steps: int, max_steps: int
) -> Eigenvalues:
    """The `count` largest eigenvalues to a residual of `tolerance`: `first_steps` steps, then a quarter more until all
    have converged.

    Raises NotConverged beyond `max_steps` steps. One starting vector finds one of several equal eigenvalues.
    """
    if count > len(start):
        raise ValueError(f"found {len(start)} rows, expected at least as many as the {count} eigenvalues asked for")
    krylov = Krylov(product, start)
    steps, last = max(first_steps, count), min(max_steps, len(start))
    while True:
        krylov.extend(steps)
        values, coordinates, promised = krylov.ritz(count, order)
        if (promised <= tolerance * values.abs()).all() or steps >= last:
            residuals = krylov.true_residuals(values, coordinates)
            if (residuals <= tolerance).all():
                return Eigenvalues(values, residuals, krylov.products)
            if steps >= last:
                raise NotConverged(
                    f"after {krylov.steps} Lanczos steps the largest residual |Hv - lv| / |l| is "
                    f"{residuals.max():.2g}, expected at most {tolerance:g}; raise max_steps or tolerance"
                )
        steps = min(steps + max(1, steps // 4), last)


def power_iteration(product: Product, starts: Iterable[Tensor], *, tolerance: float, max_steps: int) -> Eigenvalues:
    """One eigenvalue for each starting vector, by magnitude, as PyHessian finds them (Yao et al. 2020).

    Each vector is held orthogonal to the earlier ones; it is done when its value changes by less than `tolerance`,
    relative, or after `max_steps` products. Nothing is asked of the residuals, which tell how good that is.
    """
    values: list[float] = []
    vectors: list[Tensor] = []
    residuals: list[float] = []
    products = 0
    for start in starts:
        vector, value = start, math.nan
        for _ in range(max_steps):
            for earlier in vectors:
                vector = vector - vector.dot(earlier) * earlier
            vector = vector / vector.norm()
            image = product(vector)
            products += 1
            found = vector.dot(image).item()
            vector = image / image.norm()
            if abs(value - found) / (abs(value) + 1e-6) < tolerance:
                break
            value = found
        values.append(value)
        vectors.append(vector)
        residuals.append(residual(product, value, vector))
    found_values, true_residuals = (torch.tensor(each, dtype=torch.float64) for each in (values, residuals))
    order = found_values.abs().argsort(descending=True)
    return Eigenvalues(found_values[order], true_residuals[order], products + len(values))


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


def residual(product: Product, value: float, vector: Tensor) -> float:
    """|Hv - lv| / |l| of a vector of any length."""
    vector = vector / vector.norm()
    gap = (product(vector) - value * vector).norm().item()
    return gap / abs(value) if value else math.inf


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
