"""Products with the Hessian of a network's loss, and its spectral density, for eval/hessian.py.

The one file that uses hessian-eigenthings: for the mean over batches and the density, which alone need it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from seal.data.batches import Batch

DENSITY_RUNS, DENSITY_STEPS = 10, 80  # Ghorbani et al. 2019: 10 starting vectors, 80-90 steps


@dataclass(frozen=True)
class Operator:
    """A symmetric matrix [n, n], known by its products."""

    matvec: Callable[[Tensor], Tensor]  # [n] -> [n]
    size: int  # n
    device: torch.device
    dtype: torch.dtype


@contextmanager
def batch_norm(model: nn.Module, statistics: Literal["running", "batch"]) -> Iterator[None]:
    """Normalise by the running statistics, or by each batch's without touching the running ones."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    before = [(layer.training, layer.track_running_stats) for layer in layers]
    try:
        for layer in layers:
            layer.training, layer.track_running_stats = statistics == "batch", statistics == "running"
        yield
    finally:
        for layer, flags in zip(layers, before, strict=True):
            layer.training, layer.track_running_stats = flags


def loss_of(model: nn.Module, batch: Batch, label_smoothing: float) -> Tensor:
    # In NHWC memory oneDNN's backward pass of a 1x1 convolution with stride 2 and few channels writes past its memory
    # (torch 2.10: free(): invalid pointer).
    with sdpa_kernel(SDPBackend.MATH):  # of attention the one implementation that has second derivatives
        logits = model(batch[0].contiguous())
    return cross_entropy(logits, batch[1], label_smoothing=label_smoothing)


def batch_hessian(model: nn.Module, batch: Batch, *, label_smoothing: float, weight_decay: float) -> Operator:
    """The Hessian of one batch's loss and (wd/2) |theta|^2, over all parameters in order: one forward pass, whose graph
    is kept, so that a product costs one backward pass through the gradient."""
    parameters = list(model.parameters())
    loss = loss_of(model, batch, label_smoothing)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    sizes = [parameter.numel() for parameter in parameters]

    def product(vector: Tensor) -> Tensor:
        parts = [part.view_as(like) for part, like in zip(torch.split(vector, sizes), parameters, strict=True)]
        images = torch.autograd.grad(gradients, parameters, parts, retain_graph=True)
        return torch.cat([image.flatten() for image in images]).add_(vector, alpha=weight_decay)

    return Operator(product, sum(sizes), loss.device, loss.dtype)


def mean_hessian(
    model: nn.Module, batches: Sequence[Batch], *, label_smoothing: float, weight_decay: float
) -> Operator:
    """The same of the mean loss over batches of one size. Each product goes through all of them anew: their graphs
    together may not fit into memory."""
    from hessian_eigenthings import HessianOperator  # type: ignore[import-untyped]

    mean = HessianOperator(model, batches, lambda model, batch: loss_of(model, batch, label_smoothing))
    return Operator(
        lambda vector: mean.matvec(vector).add_(vector, alpha=weight_decay), mean.size, mean.device, mean.dtype
    )


def density(operator: Operator, seed: int) -> dict[str, NDArray[Any]]:
    """Nodes and weights [runs, steps] of the spectral density by Lanczos quadrature (Ghorbani et al. 2019)."""
    from hessian_eigenthings import LambdaOperator, spectral_density

    steps = min(DENSITY_STEPS, operator.size)
    matrix = LambdaOperator(operator.matvec, operator.size, operator.device, operator.dtype)
    spectrum = spectral_density(matrix, num_runs=DENSITY_RUNS, lanczos_steps=steps, num_grid_points=2, seed=seed)
    nodes, weights = spectrum.raw_eigenvalues, spectrum.raw_weights
    return {"density_nodes": nodes.cpu().numpy(), "density_weights": weights.cpu().numpy()}
