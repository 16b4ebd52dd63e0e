"""The evaluations: of each its section of params.yaml, its numbers, and what it costs. The one place that knows them.

Claims, report, study tables, `seal compare`, `seal plan` and the tests all go by EVALUATIONS; no other file knows a key
of an evaluation's JSON. A new one is a section, a cost, and an entry in Sections and in EVALUATIONS here,
eval/<name>.py, its stage in dvc.yaml, its values in params/paper.yaml and its claims (docs/architecture.md). Longer
than other files, because whoever adds an evaluation should find all of it here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from seal.measure import Images, Measure, NetworkSize, Work, votes_that_are_right
from seal.sections import Fraction, NonNegative, Positive, Precision, Strict

WhichGenerations = list[Positive] | Literal["last"]  # whose weights are evaluated; of a list, those that were kept

# How a network looks at images; records from before it could be chosen are float32's, and so that one stays unnamed.
Looked = Annotated[Precision, Field(exclude_if=lambda value: value == "float32")]


class Transfer(Strict):
    """Section 4.1, Table 1: a new linear layer on the frozen network, for each target."""

    targets: list[str]
    generations: WhichGenerations
    learning_rates: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    epochs: Positive
    batch_size: Positive
    momentum: Fraction
    weight_decay: NonNegative
    val_share: Annotated[float, Field(gt=0, lt=1)]
    feature_batch_size: Positive
    precision: Looked = "float32"
    seed: int


class FewShot(Strict):
    """Section 4.2, Tables 4 and 5: a new linear layer for each episode, on the frozen network."""

    targets: list[str]
    generations: WhichGenerations
    images: Literal["all", "startup"]
    n_way: Annotated[int, Field(ge=2)]
    shots: Annotated[list[Positive], Field(min_length=1)]
    n_query: Positive
    episodes: Annotated[int, Field(ge=2)]
    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Fraction
    dampening: Fraction
    weight_decay: NonNegative
    memory_mb: Positive
    precision: Looked = "float32"
    seed: int


class FewShotAffines(FewShot):
    """The same with each episode's own BatchNorm scales and shifts, by the benchmark's second optimizer."""

    affine_learning_rate: Annotated[float, Field(gt=0)]
    statistics: Literal["benchmark", "frozen"]


class PredictionDepth(Strict):
    """Section 5, Figures 2 and 3: the nearest training images vote on each test image, by each block's output."""

    generations: WhichGenerations
    neighbours: Positive
    features: Literal["flat", "pooled"]
    metric: Literal["l2", "cosine"]
    reference: Literal["model", "last_probe"]
    train_images: Positive | None
    test_images: Positive | None
    backend: Literal["torch", "faiss"]
    batch_size: Positive
    memory_mb: Positive
    spare: Annotated[int, Field(ge=0)]
    slice_width: Positive
    precision: Looked = "float32"


class Hessian(Strict):
    """Section 5, Table 6: eigenvalues of the loss's Hessian, largest by magnitude, of each augmented mini-batch."""

    generations: WhichGenerations
    eigenvalues: Positive
    batches: Positive
    batch_size: Positive
    fixed_batches: Positive
    solvers: Annotated[list[Literal["lanczos", "power"]], Field(min_length=1)]
    batch_norm: Literal["running", "batch"]
    tolerance: Annotated[float, Field(gt=0)]
    first_steps: Positive
    max_steps: Positive
    power_tolerance: Annotated[float, Field(gt=0)]
    power_steps: Positive
    bootstrap: Positive
    precision: Annotated[Literal["float32"], Field(exclude=True)] = "float32"  # fewer bits are not enough for it
    seed: int
    spectral_density: bool

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.eigenvalues <= self.first_steps <= self.max_steps:
            raise ValueError(
                f"found eigenvalues {self.eigenvalues}, first_steps {self.first_steps}, max_steps {self.max_steps}; "
                "expected them in rising order"
            )
        if self.fixed_batches > self.batches:
            raise ValueError(f"fixed_batches is {self.fixed_batches}, expected at most batches = {self.batches}")
        return self


class Sections(Strict):
    """The evaluations' sections of params.yaml, each under its evaluation's name; config.Params has them too."""

    transfer: Transfer
    fewshot: FewShot
    fewshot_affines: FewShotAffines
    prediction_depth: PredictionDepth
    hessian: Hessian


# What a stage's steps come to; benchmarks/README.md has the measurements.
# Products: a batch's five eigenvalues by Lanczos or in PyHessian's way, the largest of the fixed batches.
PRODUCTS, LARGEST = {"lanczos": 28, "power": 350}, 11
# s a step of linear layers trained beside each other, for each of them, and for each of its support images and classes.
FEWSHOT_STEP, FEWSHOT_EPISODE, FEWSHOT_LOGIT = 4e-4, 1.5e-6, 9e-9
PROBE_STEP, PROBE_CLASS = 2.2e-4, 4.7e-6  # s a step of three rates, and for each class
FEWSHOT_LAUNCHES, PROBE_LAUNCHES = 13, 11  # operations of such a step
MB = 2**20


def transfer_cost(section: Transfer, images: Images, size: NetworkSize) -> Work:
    fits = 1 if images.val else 2
    steps = section.epochs * fits * math.ceil(images.train / section.batch_size)
    seconds = steps * (PROBE_STEP + PROBE_CLASS * images.classes)
    return Work(seen=images.total, small=seconds, launched=steps * PROBE_LAUNCHES, bytes=1e5)


def fewshot_cost(section: FewShot, images: Images, size: NetworkSize) -> Work:
    steps, small = 0, 0.0
    for shot in section.shots:
        support = section.n_way * shot
        of_shot = section.epochs * math.ceil(support / section.batch_size)
        an_episode = FEWSHOT_EPISODE + FEWSHOT_LOGIT * support * section.n_way
        steps += of_shot
        small += of_shot * (FEWSHOT_STEP + an_episode * section.episodes)

    return Work(
        seen=images.total, small=small, launched=steps * FEWSHOT_LAUNCHES, bytes=1e5, memory=section.memory_mb * MB
    )


def affines_cost(section: FewShotAffines, images: Images, size: NetworkSize) -> Work:
    of_all_episodes = section.episodes * section.n_way
    return Work(
        tuned=of_all_episodes * section.epochs * sum(section.shots),
        seen=of_all_episodes * section.n_query * len(section.shots),
        compilers=1, bytes=1e5, memory=section.memory_mb * MB,
    )  # fmt: skip


def depth_cost(section: PredictionDepth, images: Images, size: NetworkSize) -> Work:
    flop = 2.0 * images.train * images.test * size.features
    return Work(seen=images.train + images.test, searched=flop / 1e9, bytes=1e6, memory=section.memory_mb * MB)


def hessian_cost(section: Hessian, images: Images, size: NetworkSize) -> Work:
    products = section.batches * sum(PRODUCTS[solver] for solver in section.solvers) + section.fixed_batches * LARGEST
    basis_bytes = 4.0 * size.parameters * PRODUCTS["lanczos"]  # a vector a product
    return Work(curved=section.batch_size * products, bytes=1e5, memory=basis_bytes)


# Parameters of any evaluation that change no value beyond rounding: runs that differ in them can be compared.
FREE = ("targets", "generations", "memory_mb")
DEPTH_FREE = (*FREE, "backend", "spare", "slice_width")


@dataclass(frozen=True)
class Evaluation:
    """What everyone else knows of an evaluation; its stage is `python -m eval.<name>`."""

    cost: Callable[[Any, Images, NetworkSize], Work]  # of one network, by its section and the images that it sees
    measures: Mapping[str, Measure]  # by the names that claims call them
    targeted: bool = False  # a stage for each of the section's targets; else on the images of the training
    free: Sequence[str] = FREE


def _shots(name: str, words: str) -> dict[str, Measure]:
    return {
        name: Measure(
            "shots.{shot}.accuracy", f"{{shot}}-shot, {words}, {{target}}, %", "points", 100, 1,
            items="accuracy_{shot}", interval="shots.{shot}.interval", skipped="shots.{shot}.skipped",
            shown=True, cell={"shot": 5},
        )
    }  # fmt: skip


EVALUATIONS: dict[str, Evaluation] = {
    "transfer": Evaluation(transfer_cost, targeted=True, free=(*FREE, "feature_batch_size"), measures={
        "transfer": Measure(
            "paper.accuracy", "linear probe, {target}, %", "points", 100, 1, items="correct_paper", shown=True
        ),
        "transfer_validation": Measure(
            "validation.accuracy", "linear probe, rate by validation, {target}, %", "points", 100, 1,
            items="correct_validation",
        ),
    }),
    "fewshot": Evaluation(fewshot_cost, _shots("fewshot", "linear"), targeted=True),
    "fewshot_affines": Evaluation(affines_cost, _shots("fewshot_affines", "with affines"), targeted=True),
    "prediction_depth": Evaluation(depth_cost, free=DEPTH_FREE, measures={
        "mean_depth": Measure("mean_depth", "mean prediction depth, in blocks", "blocks", items="depth", shown=True),
        "knn_accuracy": Measure(
            "knn_accuracy.{block}", "kNN probe at {block}, %", "points", 100, 1, items=votes_that_are_right,
            compared=False, shown=True,
        ),
        "model_accuracy": Measure("model_accuracy", "the network on the same images, %", "points", 100, 1),
    }),
    "hessian": Evaluation(hessian_cost, measures={
        "max_eigenvalue": Measure(
            "lanczos.max_eigenvalue", "largest Hessian eigenvalue", digits=0, instead="power", shown=True
        ),
        "negative_fraction": Measure(
            "lanczos.negative_fraction", "negative of the largest eigenvalues, %", "points", 100, 1,
            limit="lanczos.negative_upper_limit", instead="power", compared=False, shown=True,
        ),
        "max_eigenvalue_power": Measure(
            "power.max_eigenvalue", "largest Hessian eigenvalue, power iteration", digits=0, instead="lanczos"
        ),
        "negative_fraction_power": Measure(
            "power.negative_fraction", "negative of the largest eigenvalues, power iteration, %", "points", 100, 1,
            limit="power.negative_upper_limit", instead="lanczos", compared=False,
        ),
        "batches": Measure("lanczos.batches", "batches", digits=0, instead="power", compared=False),
        "batches_power": Measure(
            "power.batches", "batches, power iteration", digits=0, instead="lanczos", compared=False
        ),
    }),
}  # fmt: skip


def evaluation_and_target(folder: str) -> tuple[str, str | None]:
    """Whose results a folder of a run's eval/ holds: `transfer-digits` -> transfer, digits."""
    evaluation, _, target = folder.partition("-")
    return evaluation, target or None
