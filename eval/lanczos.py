"""The outer eigenvalues of a symmetric operator by Lanczos' recurrence, to a residual that is asked for."""

import math

import torch
from torch import Tensor

from eval.spectrum import (
    NOT_FINITE,
    Eigenvalues,
    NotConverged,
    Order,
    Product,
    gap,
    relative_residuals,
    rounding,
    without_noise,
)
from seal.errors import UserError


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
