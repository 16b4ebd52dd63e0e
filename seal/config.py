"""params.yaml as frozen, strict models: an unknown, missing or impossible value is one line that names it."""

import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from seal.errors import UserError
from seal.evaluations import FewShot, FewShotAffines, Hessian, PredictionDepth, Transfer
from seal.sections import BLOCKS, Arm, Dataset, Generations, Model, Runtime, Strict, Training

BASE_ARM = "normal"  # generation 1, trained once per seed and shared (base stage)
BASE_KEYS = ("layer_threshold", "checkpoint")  # what its record depends on, of `generations`

Seed = Annotated[int, Field(ge=0)]


class ConfigError(UserError):
    """A parameter that cannot be used."""


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
    seeds: list[Seed]
    main_arms: list[str]
    extra_arms: list[str]
    extra_seeds: list[Seed]
    sensitivity_arms: list[str]
    sensitivity_seeds: list[Seed]
    arms: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Arm]
    source: str
    datasets: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], Dataset]
    model: Model
    training: Training
    generations: Generations
    evaluated_arms: list[str]
    transfer: Transfer
    fewshot: FewShot
    fewshot_affines: FewShotAffines
    prediction_depth: PredictionDepth
    hessian: Hessian
    runtime: Runtime

    @field_validator(
        "main_arms", "extra_arms", "sensitivity_arms", "seeds", "extra_seeds", "sensitivity_seeds", "evaluated_arms"
    )
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
        if unknown := [name for name in self.evaluated_arms if name not in (BASE_ARM, *self.main_arms)]:
            known = ", ".join((BASE_ARM, *self.main_arms))
            raise ValueError(f"evaluated_arms names {unknown[0]}, expected of {known}")
        for key in ("transfer", "fewshot", "fewshot_affines"):
            if unknown := [name for name in getattr(self, key).targets if name not in self.datasets]:
                known = ", ".join(self.datasets)
                raise ValueError(f"{key}.targets names {unknown[0]}, expected of datasets: {known}")
        for arm in (BASE_ARM, *self.arms):
            self.run(arm, 0)
        return self

    def run(self, arm: str, seed: int) -> Run:
        """The run `<arm>-<seed>`, with the arm's changed parameters applied to `training` and `generations`."""
        if arm == BASE_ARM:
            # Arms go on from its end, so there is nothing to record of one that has none.
            method = "normal_long"
            changes = {"num_generations": 1, "schedule": "per_generation", "on_divergence": "fail"}
        elif arm in self.arms:
            method, changes = self.arms[arm].method, self.arms[arm].changes
        else:
            raise ConfigError(f"run {arm}-{seed}: no such arm, expected {BASE_ARM} or one of {', '.join(self.arms)}")
        methods = sys.modules.get("seal.methods")  # not imported for this, as it imports torch; each training has it
        if methods and method not in methods.METHODS:
            raise ConfigError(f"arms.{arm}.method is {method!r}, expected one of {', '.join(methods.METHODS)}")
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
    except (IsADirectoryError, UnicodeDecodeError) as error:
        found = "a folder" if isinstance(error, OSError) else f"bytes that are not UTF-8 ({error.reason})"
        raise ConfigError(f"{path}: found {found}, expected YAML in UTF-8; `seal tier smoke` writes one") from None
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
