"""Eigenvalues of a symmetric operator one after the other, as PyHessian finds them (Yao et al. 2020)."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from eval.spectrum import NOT_FINITE, Eigenvalues, Product, gap, relative_residuals, rounding, without_noise
from seal.errors import UserError


def power_iteration(product: Product, starts: Iterable[Tensor], *, tolerance: float, max_steps: int) -> Eigenvalues:
    """One eigenvalue for each starting vector, by magnitude.

    Each vector is held orthogonal to the earlier ones; it is done when its value changes by less than `tolerance`,
    relative, or after `max_steps` products, or when its product is rounding noise: then its value is zero. Nothing is
    asked of the residuals, which tell how good that is. Raises UserError for a product that is not finite.
    """
    multiply = Multiplication(product)
    values: list[float] = []
    vectors: list[Tensor] = []
    gaps: list[float] = []
    for start in starts:
        if len(vectors) == len(start):
            raise ValueError(f"found {len(start)} rows, expected at least as many as there are starting vectors")

        value, vector = iterate(multiply, start, vectors, tolerance, max_steps)
        values.append(value)
        vectors.append(vector)
        gaps.append(gap(product, value, vector))

    eigenvalues = torch.tensor(values, dtype=torch.float64)
    residuals = relative_residuals(torch.tensor(gaps, dtype=torch.float64), eigenvalues, multiply.noise, tolerance)
    order = eigenvalues.abs().argsort(descending=True)
    cleaned = without_noise(eigenvalues, multiply.noise)
    return Eigenvalues(cleaned[order], residuals[order], multiply.products + len(values))


class Multiplication:
    """Products with an operator: how many there were, and what rounding makes of the largest."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.products, self.noise = 0, 0.0

    def __call__(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The product, and its length. Raises UserError where it is not finite."""
        image = self.product(vector)
        length = image.norm()
        if not length.isfinite():
            raise UserError(NOT_FINITE)

        self.products += 1
        self.noise = max(self.noise, rounding(vector) * length.item())
        return image, length


def iterate(
    multiply: Multiplication, start: Tensor, earlier: Sequence[Tensor], tolerance: float, max_steps: int
) -> tuple[float, Tensor]:
    """The eigenvalue and the vector that repeated products lead to."""
    vector, value = start, math.nan
    for _ in range(max_steps):
        for known in earlier:
            vector = vector - vector.dot(known) * known
        vector = vector / vector.norm()

        image, length = multiply(vector)
        if length <= multiply.noise:  # only what rounding left of the earlier vectors
            return 0.0, vector

        quotient = vector.dot(image).item()
        vector = image / length
        if abs(value - quotient) / (abs(value) + 1e-6) < tolerance:
            break
        value = quotient
    return value, vector
