"""params.yaml as frozen, strict models: an unknown, missing or impossible value is one line that names it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from seal.errors import UserError

# Residual blocks in layer1..layer4 (He et al. 2016, table 1).
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}

BASE_ARM = "normal"  # generation 1, trained once per seed and shared (base stage)
BASE_KEYS = ("layer_threshold", "checkpoint")  # what its record depends on, of `generations`

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Channels = Annotated[tuple[float, float, float], Field(strict=False)]


class ConfigError(UserError):
    """A parameter that cannot be used."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SplitFractions(Strict):
    """The last `test` of each class is test, the `val` before it val, in the source's order."""

    test: Fraction
    val: Fraction


class Dataset(Strict):
    source: str
    image_size: Positive
    split: Literal["official"] | Annotated[str, Field(pattern=r"\.csv$")] | SplitFractions
    classes: list[str] | Positive | None = None
    images_per_class: Positive | None = None
    path: str | None = None

    @model_validator(mode="after")
    def _folder_has_a_path(self) -> Self:
        if (self.source == "folder") != (self.path is not None):
            raise ValueError("`path` belongs to source `folder`, and only to it")
        return self


class Model(Strict):
    depth: Literal[18, 50]
    width: Positive
    stem: Literal["imagenet", "small"]


class Training(Strict):
    """What an epoch is made of; generation 1 depends on these alone."""

    epochs_per_generation: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_epochs: Annotated[int, Field(ge=0)]
    momentum: Fraction
    weight_decay: NonNegative
    label_smoothing: Fraction
    flip: bool
    crop_padding: Annotated[int, Field(ge=0)]
    mean: Channels
    std: Channels
    precision: Literal["float32", "bfloat16"]
    channels_last: bool


class Generations(Strict):
    """What happens from generation to generation; each open choice of the paper is named here (artifact.md)."""

    num_generations: Positive
    schedule: Literal["per_generation", "one_cosine"]
    layer_threshold: Annotated[str, Field(pattern=r"^layer[1-4](\.\d+)?$")]
    first_ascent_generation: Positive
    ascent_epochs: Annotated[int, Field(ge=0)]
    ascent_lr_scale: NonNegative
    ascent_weight_decay: Literal["adjusted", "off", "grow"]
    reset_momentum: bool
    reinitialiser: Literal["model", "kaiming_uniform"]
    llf_reinitialises: Literal["weights", "all"]
    frozen_statistics: Literal["move", "hold"]
    reverse_fc: Literal["ascends", "descends"]
    reinit_untrained: list[str]
    checkpoint: Literal["last", "best"]
    kept_generations: list[Positive]
    on_divergence: Literal["fail", "record"]


class PredictionDepth(Strict):
    """Section 5, Figures 2 and 3: the nearest training images vote on each test image, by each block's output."""

    generations: list[Positive] | Literal["last"]
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

    generations: list[Positive] | Literal["last"]
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


class Runtime(Strict):
    """How a run is carried out; no result may depend on it beyond rounding."""

    device: str
    threads: Positive | None
    optimizer_backend: Literal["auto", "reference", "cpu", "compiled", "triton"]
    resume_every_epochs: Positive
    track: bool


class Arm(Strict):
    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    method: str

    @property
    def changes(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Run(Strict):
    """One training: an arm with its changes applied, and a seed."""

    tier: str
    arm: str
    seed: int
    method: str
    model: Model
    training: Training
    generations: Generations

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.seed}"

    def facts(self) -> dict[str, Any]:
        """Every parameter that the run's record depends on, as JSON values."""
        facts = self.model_dump(mode="json")
        if self.arm == BASE_ARM:
            facts["generations"] = {
                key: facts["generations"][key] for key in ("num_generations", "schedule", *BASE_KEYS)
            }
        return facts

    @model_validator(mode="after")
    def _possible(self) -> Self:
        training, generations = self.training, self.generations
        epochs = training.epochs_per_generation
        if generations.ascent_epochs > epochs:
            raise ValueError(
                f"ascent_epochs is {generations.ascent_epochs}, expected at most epochs_per_generation = {epochs}"
            )
        if training.warmup_epochs >= epochs:
            raise ValueError(
                f"warmup_epochs is {training.warmup_epochs}, expected less than epochs_per_generation = {epochs}"
            )
        layer, _, block = generations.layer_threshold.partition(".")
        count = BLOCKS[self.model.depth][int(layer[-1]) - 1]
        if block and int(block) >= count:
            raise ValueError(
                f"layer_threshold is {generations.layer_threshold}, but {layer} of ResNet-{self.model.depth} "
                f"has blocks 0 to {count - 1}"
            )
        return self


class Params(Strict):
    tier: Literal["smoke", "mini", "paper"]
    seeds: list[int]
    main_arms: list[str]
    extra_arms: list[str]
    extra_seeds: list[int]
    sensitivity_arms: list[str]
    sensitivity_seeds: list[int]
    arms: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Arm]
    source: str
    datasets: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Dataset]
    model: Model
    training: Training
    generations: Generations
    prediction_depth: PredictionDepth
    hessian: Hessian
    runtime: Runtime

    @field_validator("main_arms", "extra_arms", "sensitivity_arms", "seeds", "extra_seeds", "sensitivity_seeds")
    @classmethod
    def _no_repeats(cls, value: list[object], info: ValidationInfo) -> list[object]:
        if len(set(value)) != len(value):
            raise ValueError(f"{value} names an entry twice")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        if self.source not in self.datasets:
            raise ValueError(f"source is {self.source}, expected one of datasets: {', '.join(self.datasets)}")
        if BASE_ARM in self.arms:
            raise ValueError(f"arms.{BASE_ARM}: this name is generation 1's, which the base stage trains")
        lists = {"main_arms": self.main_arms, "extra_arms": self.extra_arms, "sensitivity_arms": self.sensitivity_arms}
        for key, names in lists.items():
            if unknown := [name for name in names if name not in self.arms]:
                raise ValueError(f"{key} names {unknown[0]}, expected one of arms: {', '.join(self.arms)}")
        for arm in (BASE_ARM, *self.arms):
            self.run(arm, 0)
        return self

    def run(self, arm: str, seed: int) -> Run:
        """The run `<arm>-<seed>`, with the arm's changed parameters applied to `training` and `generations`."""
        if arm == BASE_ARM:
            method, changes = "normal_long", {"num_generations": 1, "schedule": "per_generation"}
        elif arm in self.arms:
            method, changes = self.arms[arm].method, self.arms[arm].changes
        else:
            raise ConfigError(f"run {arm}-{seed}: no such arm, expected {BASE_ARM} or one of {', '.join(self.arms)}")
        sections = {"training": self.training.model_dump(), "generations": self.generations.model_dump()}
        for key, value in changes.items():
            owner = next((section for section in sections.values() if key in section), None)
            if owner is None:
                known = ", ".join(sorted(key for section in sections.values() for key in section))
                raise ConfigError(f"arms.{arm}.{key}: unknown key, expected method or one of {known}")
            owner[key] = value
        try:
            return Run(
                tier=self.tier, arm=arm, seed=seed, method=method, model=self.model,
                training=Training(**sections["training"]), generations=Generations(**sections["generations"]),
            )  # fmt: skip
        except ValidationError as error:
            raise ConfigError(f"arms.{arm}: {_one_line(error)}" if arm != BASE_ARM else _one_line(error)) from None

    def find_run(self, name: str) -> Run:
        """The run of that name, e.g. `seal-0`."""
        match = re.fullmatch(r"([a-z0-9_]+)-(\d+)", name)
        if match is None:
            raise ConfigError(f"run {name!r}: expected <arm>-<seed>, e.g. seal-0")
        return self.run(match[1], int(match[2]))

    def base_of(self, name: str) -> Run:
        """The run that trains generation 1 for the run of that name: `normal-<seed>`."""
        return self.run(BASE_ARM, self.find_run(name).seed)

    def run_names(self) -> list[str]:
        """Every run of the active parameters, in the order in which tables show them."""
        groups = [
            ([BASE_ARM, *self.main_arms], self.seeds),
            (self.extra_arms, self.extra_seeds),
            (self.sensitivity_arms, self.sensitivity_seeds),
        ]
        return list(dict.fromkeys(f"{arm}-{seed}" for arms, seeds in groups for arm in arms for seed in seeds))


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check a parameter file. Raises ConfigError with one line for each problem."""
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: not found; run from the project's root, or write one with `seal tier smoke`"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return parse_params(raw, str(path))


def parse_params(raw: object, origin: str) -> Params:
    """Check values as read from `origin`. Raises ConfigError with one line for each problem."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_one_line(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _one_line(error: ValidationError) -> str:
    words = {"extra_forbidden": "unknown key", "missing": "missing key"}
    lines = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        message = words.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        found = "" if problem["type"] in (*words, "value_error") else f" (found {problem['input']!r})"
        lines.append(f"{place}: {message}{found}" if place else f"{message}{found}")
    return "; ".join(lines)
