"""Eigenvalues of the loss's Hessian, section 5, Table 6: the stage `python -m eval.hessian --run ARM-SEED`.

Park and Kim's recipe (2022): of each augmented mini-batch the eigenvalues largest by magnitude, of the loss as trained
plus (wd/2) |theta|^2 over all trained parameters, so that wd is added to every eigenvalue before they are chosen. This
is the one file that uses hessian-eigenthings.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, islice
from typing import Any, Literal

import torch
from hessian_eigenthings import (  # type: ignore[import-untyped]
    CurvatureOperator,
    HessianOperator,
    LambdaOperator,
    spectral_density,
)
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from eval.evaluation import Evaluation, Network, evaluation_stage
from eval.spectrum import Eigenvalues, NotConverged, lanczos, power_iteration, summary
from seal.data.batches import Batch, Batches
from seal.errors import UserError
from seal.evaluations import Hessian
from seal.rng import stream

Solver = Literal["lanczos", "power"]
DENSITY_RUNS, DENSITY_STEPS = 10, 80  # Ghorbani et al. 2019: 10 starting vectors, 80-90 steps


def augmented(train: Batches, number: int, seed: int) -> list[Batch]:
    """`number` whole batches, augmented, from seeded streams: epoch after epoch, last batches that are smaller left
    out. Raises UserError where there are too few images for one."""
    size = train.batch_size
    if size > len(train.images):
        raise UserError(f"hessian.batch_size is {size}, expected at most {len(train.images)}, the training images")
    epochs = (
        train.epoch(stream(seed, "hessian order", epoch), stream(seed, "hessian augmentation", epoch))
        for epoch in count()
    )
    return list(islice((batch for epoch in epochs for batch in epoch if len(batch[1]) == size), number))


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


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 in products and convolutions, which cuDNN takes by default: it would keep three digits."""
    places = [torch.backends.cuda.matmul, torch.backends.cudnn.conv]  # type: ignore[attr-defined]
    with ExitStack() as stack:
        for place in places:
            stack.callback(setattr, place, "fp32_precision", place.fp32_precision)
            place.fp32_precision = "ieee"
        yield


def loss_of(model: nn.Module, batch: Batch, label_smoothing: float) -> Tensor:
    # In NHWC memory oneDNN's backward pass of a 1x1 convolution with stride 2 and few channels writes past its memory
    # (torch 2.10: free(): invalid pointer).
    return cross_entropy(model(batch[0].contiguous()), batch[1], label_smoothing=label_smoothing)


def batch_hessian(model: nn.Module, batch: Batch, *, label_smoothing: float, weight_decay: float) -> CurvatureOperator:
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

    return LambdaOperator(product, sum(sizes), loss.device, loss.dtype)


def mean_hessian(
    model: nn.Module, batches: Sequence[Batch], *, label_smoothing: float, weight_decay: float
) -> CurvatureOperator:
    """The same of the mean loss over batches of one size. Each product goes through all of them anew: their graphs
    together may not fit into memory."""
    mean = HessianOperator(model, batches, lambda model, batch: loss_of(model, batch, label_smoothing))
    return LambdaOperator(
        lambda vector: mean.matvec(vector).add_(vector, alpha=weight_decay), mean.size, mean.device, mean.dtype
    )


def start_vector(operator: CurvatureOperator, seed: int, *at: int) -> Tensor:
    """Of normal draws, the same for every network of that size and on every device."""
    draws = torch.randn(operator.size, generator=stream(seed, "hessian start", *at))
    return draws.to(operator.device, operator.dtype)


def solve(operator: CurvatureOperator, solver: Solver, params: Hessian, at: int) -> Eigenvalues:
    """The eigenvalues largest by magnitude of batch number `at`. Raises NotConverged where Lanczos has not."""
    product: Any = operator.matvec
    if solver == "power":
        starts = (start_vector(operator, params.seed, at, number) for number in range(params.eigenvalues))
        return power_iteration(product, starts, tolerance=params.power_tolerance, max_steps=params.power_steps)
    return lanczos(
        product, start_vector(operator, params.seed, at), params.eigenvalues, "magnitude",
        tolerance=params.tolerance, first_steps=params.first_steps, max_steps=params.max_steps,
    )  # fmt: skip


def evaluate(stage: Evaluation, network: Network, batches: Sequence[Batch]) -> None:
    params, training = stage.params.hessian, stage.run.training
    loss = {"label_smoothing": training.label_smoothing, "weight_decay": training.weight_decay}
    model, generation = network.model.requires_grad_(True), f"generation {network.generation}"
    found: dict[Solver, list[Eigenvalues]] = {solver: [] for solver in params.solvers}
    with batch_norm(model, params.batch_norm), full_float32():
        for at, batch in enumerate(stage.bar.track(batches, description=generation)):
            with named(f"{generation}, batch {at}"):
                solve_all(batch_hessian(model, batch, **loss), params, at, found)
        values: dict[str, Any] = {
            solver: summary(each, params.bootstrap, stream(params.seed, "hessian bootstrap"))
            for solver, each in found.items()
        }
        arrays: dict[str, NDArray[Any]] = {}
        for solver, each in found.items():
            arrays[f"eigenvalues_{solver}"] = torch.stack([one.values for one in each]).numpy()
            arrays[f"residuals_{solver}"] = torch.stack([one.residuals for one in each]).numpy()
        fixed = mean_hessian(model, batches[: params.fixed_batches], **loss)
        if "lanczos" in values:
            with named(f"{generation}, fixed batches"):
                values["lanczos"] |= largest_of_fixed(fixed, params)
        if params.spectral_density:
            arrays |= density(fixed, params.seed)
    stage.timing.done += sum(one["products"] + one.get("fixed_products", 0) for one in values.values())
    images = {"flip": training.flip, "crop_padding": training.crop_padding, "mean": training.mean, "std": training.std}
    described = {"loss": "cross-entropy + (weight_decay / 2) |theta|^2", **loss, "augmentation": images}
    stage.write(network, params.model_dump() | described, values, arrays)


def solve_all(operator: CurvatureOperator, params: Hessian, at: int, found: Mapping[Solver, list[Eigenvalues]]) -> None:
    """Add the eigenvalues of batch number `at` by each solver. Its graph is gone on return."""
    for solver, each in found.items():
        each.append(solve(operator, solver, params, at))


def largest_of_fixed(operator: CurvatureOperator, params: Hessian) -> dict[str, Any]:
    """The largest eigenvalue, not by magnitude, over the fixed batches; products are counted by batch."""
    found = lanczos(
        operator.matvec, start_vector(operator, params.seed), 1, "value",
        tolerance=params.tolerance, first_steps=params.first_steps, max_steps=params.max_steps,
    )  # fmt: skip
    return {
        "fixed_max_eigenvalue": found.values[0].item(),
        "fixed_residual": found.residuals[0].item(),
        "fixed_products": found.products * params.fixed_batches,
    }


def density(operator: CurvatureOperator, seed: int) -> dict[str, NDArray[Any]]:
    """Nodes and weights [runs, steps] of the spectral density by Lanczos quadrature (Ghorbani et al. 2019)."""
    steps = min(DENSITY_STEPS, operator.size)
    found = spectral_density(operator, num_runs=DENSITY_RUNS, lanczos_steps=steps, num_grid_points=2, seed=seed)
    nodes, weights = found.raw_eigenvalues, found.raw_weights
    return {"density_nodes": nodes.cpu().numpy(), "density_weights": weights.cpu().numpy()}


@contextmanager
def named(place: str) -> Iterator[None]:
    """Say in which network and batch something has not converged."""
    try:
        yield
    except NotConverged as error:
        raise NotConverged(f"{place}: {error}") from None


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("hessian", target=False, arguments=arguments) as stage:
        params, training, split = stage.params.hessian, stage.run.training, stage.pack["train"]
        stage.timing.unit, stage.timing.backend = "products", ", ".join(params.solvers)
        train = Batches(
            split.images, split.labels, batch_size=params.batch_size, mean=training.mean, std=training.std,
            flip=training.flip, crop_padding=training.crop_padding, device=stage.device, channels_last=False,
        )  # fmt: skip
        batches = augmented(train, params.batches, params.seed)
        for network in stage.networks(params.generations):
            evaluate(stage, network, batches)


if __name__ == "__main__":
    main()
