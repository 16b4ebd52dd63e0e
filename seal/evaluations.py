"""The sections of params.yaml on evaluations, as frozen, strict models."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seal.sections import Fraction, NonNegative, Positive, Strict

Generations = list[Positive] | Literal["last"]  # whose weights are evaluated; of a list, those that were kept


class Transfer(Strict):
    """Section 4.1, Table 1: a new linear layer on the frozen network, for each target."""

    targets: list[str]
    generations: Generations
    learning_rates: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    epochs: Positive
    batch_size: Positive
    momentum: Fraction
    weight_decay: NonNegative
    val_share: Annotated[float, Field(gt=0, lt=1)]
    feature_batch_size: Positive
    seed: int


class FewShot(Strict):
    """Section 4.2, Tables 4 and 5: a new linear layer for each episode, on the frozen network."""

    targets: list[str]
    generations: Generations
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
    seed: int


class FewShotAffines(FewShot):
    """The same with each episode's own BatchNorm scales and shifts, by the benchmark's second optimizer."""

    affine_learning_rate: Annotated[float, Field(gt=0)]
    statistics: Literal["benchmark", "frozen"]


class PredictionDepth(Strict):
    """Section 5, Figures 2 and 3: the nearest training images vote on each test image, by each block's output."""

    generations: Generations
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


class Hessian(Strict):
    """Section 5, Table 6: eigenvalues of the loss's Hessian, largest by magnitude, of each augmented mini-batch."""

    generations: Generations
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
