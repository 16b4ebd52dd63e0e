"""Eigenvalues of the loss's Hessian, section 5, Table 6: the stage `python -m eval.hessian --run ARM-SEED`.

Park and Kim's recipe (2022): of each augmented mini-batch the eigenvalues largest by magnitude, of the loss as trained
plus (wd/2) |theta|^2 over all trained parameters, so that wd is added to every eigenvalue before they are chosen.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.curvature import Operator, batch_hessian, batch_norm, density, mean_hessian
from eval.evaluation import EvaluationStage, Findings, evaluation_stage
from eval.lanczos import lanczos
from eval.networks import TrainedNetwork
from eval.power_iteration import power_iteration
from eval.spectrum import Eigenvalues, NotConverged, summary
from seal.data.batches import Batch, Batches
from seal.errors import UserError
from seal.precision import arithmetic
from seal.rng import stream

if TYPE_CHECKING:
    from seal.evaluations import Hessian

Solver = Literal["lanczos", "power"]


def evaluate(stage: EvaluationStage, network: TrainedNetwork, section: "Hessian", batches: Sequence[Batch]) -> Findings:
    training, place = stage.run.training, f"generation {network.generation}"
    loss = {"label_smoothing": training.label_smoothing, "weight_decay": training.weight_decay}
    model = network.model.requires_grad_(True)
    by_solver: dict[Solver, list[Eigenvalues]] = {solver: [] for solver in section.solvers}
    values: dict[str, dict[str, Any]] = {}
    arrays: dict[str, NDArray[Any]] = {}

    with batch_norm(model, section.batch_norm), arithmetic("float32"):
        for at, batch in enumerate(stage.bar.track(batches, description=place)):
            with named(f"{place}, batch {at}"):
                add_solutions(by_solver, batch_hessian(model, batch, **loss), section, at)

        for solver, solutions in by_solver.items():
            values[solver] = summary(solutions, section.bootstrap, stream(section.seed, "hessian bootstrap"))
            arrays |= arrays_of(solver, solutions)

        fixed = partial(mean_hessian, model, batches[: section.fixed_batches], **loss)
        if "lanczos" in values:
            with named(f"{place}, fixed batches"):
                values["lanczos"] |= largest_of_fixed(fixed(), section)
        if section.spectral_density:
            arrays |= density(fixed(), section.seed)

    images = {"flip": training.flip, "crop_padding": training.crop_padding, "mean": training.mean, "std": training.std}
    described = {"loss": "cross-entropy + (weight_decay / 2) |theta|^2", **loss, "augmentation": images}
    products = sum(numbers["products"] + numbers.get("fixed_products", 0) for numbers in values.values())
    return Findings(values, arrays, params=section.model_dump() | described, work=products)


def add_solutions(
    by_solver: Mapping[Solver, list[Eigenvalues]], operator: Operator, section: "Hessian", at: int
) -> None:
    """Add the eigenvalues of batch number `at` by each solver. Its graph is gone on return: two do not fit."""
    for solver, solutions in by_solver.items():
        solutions.append(solve(operator, solver, section, at))


def arrays_of(solver: Solver, solutions: Sequence[Eigenvalues]) -> dict[str, NDArray[Any]]:
    """Values and residuals [batches, k]."""
    return {
        f"eigenvalues_{solver}": torch.stack([solution.values for solution in solutions]).numpy(),
        f"residuals_{solver}": torch.stack([solution.residuals for solution in solutions]).numpy(),
    }


def start_vector(operator: Operator, seed: int, *at: int) -> Tensor:
    """Of normal draws, the same for every network of that size and on every device."""
    draws = torch.randn(operator.size, generator=stream(seed, "hessian start", *at))
    return draws.to(operator.device, operator.dtype)


def solve(operator: Operator, solver: Solver, section: "Hessian", at: int) -> Eigenvalues:
    """The eigenvalues largest by magnitude of batch number `at`. Raises NotConverged where Lanczos has not."""
    product: Any = operator.matvec
    if solver == "power":
        starts = (start_vector(operator, section.seed, at, number) for number in range(section.eigenvalues))
        return power_iteration(product, starts, tolerance=section.power_tolerance, max_steps=section.power_steps)
    return lanczos(
        product, start_vector(operator, section.seed, at), section.eigenvalues, "magnitude",
        tolerance=section.tolerance, first_steps=section.first_steps, max_steps=section.max_steps,
    )  # fmt: skip


def largest_of_fixed(operator: Operator, section: "Hessian") -> dict[str, Any]:
    """The largest eigenvalue, not by magnitude, over the fixed batches; products are counted by batch."""
    largest = lanczos(
        operator.matvec, start_vector(operator, section.seed), 1, "value",
        tolerance=section.tolerance, first_steps=section.first_steps, max_steps=section.max_steps,
    )  # fmt: skip
    return {
        "fixed_max_eigenvalue": largest.values[0].item(),
        "fixed_residual": largest.residuals[0].item(),
        "fixed_products": largest.products * section.fixed_batches,
    }


@contextmanager
def named(place: str) -> Iterator[None]:
    """Say in which network and batch something has not converged."""
    try:
        yield
    except NotConverged as error:
        raise NotConverged(f"{place}: {error}") from None


def training_batches(stage: EvaluationStage, section: "Hessian") -> Batches:
    """The training images, augmented as in the training."""
    training, split = stage.run.training, stage.pack["train"]
    return Batches(
        split.images, split.labels, batch_size=section.batch_size, mean=training.mean, std=training.std,
        flip=training.flip, crop_padding=training.crop_padding, device=stage.device, channels_last=False,
    )  # fmt: skip


def augmented(train: Batches, number: int, seed: int) -> list[Batch]:
    """`number` whole batches, augmented. Raises UserError where there are too few images for one."""
    if train.batch_size > len(train.images):
        raise UserError(
            f"hessian.batch_size is {train.batch_size}, expected at most {len(train.images)}, the training images"
        )
    return list(islice(whole_batches(train, seed), number))


def whole_batches(train: Batches, seed: int) -> Iterator[Batch]:
    """From seeded streams, epoch after epoch, last batches that are smaller left out."""
    for epoch in count():
        order, augmentation = stream(seed, "hessian order", epoch), stream(seed, "hessian augmentation", epoch)
        for batch in train.epoch(order, augmentation):
            if len(batch[1]) == train.batch_size:
                yield batch


def look(stage: EvaluationStage) -> None:
    section = stage.params.hessian
    stage.timing.unit, stage.timing.backend = "products", ", ".join(section.solvers)
    batches = augmented(training_batches(stage, section), section.batches, section.seed)
    for network in stage.networks(section.generations):
        stage.write(network, evaluate(stage, network, section, batches))


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("hessian", arguments) as stage:
        look(stage)


if __name__ == "__main__":
    main()
