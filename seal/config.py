"""params.yaml, checked: an unknown, missing or impossible value is one line that names it.

Every stage and command reads its parameters here, as `Params`, and its run by `Params.find_run`. Imports no torch.
"""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from seal.errors import ConfigError, short
from seal.evaluations import EVALUATIONS, Sections
from seal.methods import METHODS, method_of, options_of
from seal.options import ImpossibleOption, options_from
from seal.record import Tier
from seal.sections import BASE_ARM, NAMED_MODEL, OWN_MODEL, AnyModel, Arm, Dataset, Generations, Run, Runtime, Training
from seal.yaml_files import read_yaml

# The base: stage base@SEED, run normal-SEED, arm `normal` (not among `arms`), method normal_long. Arms go on from its
# handover.safetensors, so there is nothing to record of one that diverges.
BASE = Arm.model_validate(
    {"method": "normal_long", "num_generations": 1, "schedule": "per_generation", "on_divergence": "fail"}
)

# The same order in each: of arms, of their seeds, and of the arms among them that are evaluated.
ARM_LISTS = ("main_arms", "extra_arms", "sensitivity_arms")
SEED_LISTS = ("seeds", "extra_seeds", "sensitivity_seeds")
EVALUATED_LISTS = ("evaluated_arms", "evaluated_extra_arms", "evaluated_sensitivity_arms")

MOST_PROBLEMS = 12  # told at once

Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Params(Sections):
    tier: Tier
    seeds: list[Seed]
    main_arms: list[str]
    extra_arms: list[str]
    extra_seeds: list[Seed]
    sensitivity_arms: list[str]
    sensitivity_seeds: list[Seed]
    arms: dict[Name, Arm]
    source: str
    datasets: dict[Name, Dataset]
    model: AnyModel
    training: Training
    generations: Generations
    evaluated_arms: list[str]
    evaluated_extra_arms: list[str]
    evaluated_sensitivity_arms: list[str]
    runtime: Runtime

    @field_validator(*ARM_LISTS, *SEED_LISTS, *EVALUATED_LISTS)
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

        for key in ARM_LISTS:
            _are_known(key, getattr(self, key), self.arms, "one of arms: ")
        trained = ((BASE_ARM, *self.main_arms), self.extra_arms, self.sensitivity_arms)
        for key, arms in zip(EVALUATED_LISTS, trained, strict=True):
            _are_known(key, getattr(self, key), arms, "of ")
        for key in Sections.model_fields:
            if EVALUATIONS[key].targeted:
                _are_known(f"{key}.targets", getattr(self, key).targets, self.datasets, "of datasets: ")
        return self

    @model_validator(mode="after")
    def _arms_are_possible(self) -> Self:
        for arm in (BASE_ARM, *self.arms):
            self.run(arm, 0)
        return self

    def run(self, arm: str, seed: int) -> Run:
        """The run `<arm>-<seed>`: its method with the arm's numbers, and the sections with the arm's own values.

        Raises ConfigError for an arm that is not there, or that cannot be trained.
        """
        entry = self._entry(arm, seed)
        training, generations = self._sections_of(arm, entry)
        try:
            run = Run(
                tier=self.tier, arm=arm, seed=seed, method=entry.method, model=self.model,
                training=Training(**training), generations=Generations(**generations),
                options=options_from(options_of(entry.method), entry.values, training),
            )  # fmt: skip
        except ImpossibleOption as error:
            raise ConfigError(f"arms.{arm}.{error}, for method {entry.method}") from None
        except ValidationError as error:
            raise ConfigError(f"arms.{arm}: {_one_line(error)}" if arm != BASE_ARM else _one_line(error)) from None

        if run.generations.checkpoint == "best" and method_of(run).looks_back:
            raise ConfigError(
                f"arms.{arm}: generations.checkpoint is best, the best epoch since the run's start, expected last for "
                f"method {run.method}, whose generations start anew"
            )
        return run

    def _entry(self, arm: str, seed: int) -> Arm:
        entry = BASE if arm == BASE_ARM else self.arms.get(arm)
        if entry is None:
            raise ConfigError(f"run {arm}-{seed}: no such arm, expected {BASE_ARM} or one of {', '.join(self.arms)}")
        if entry.method not in METHODS:
            raise ConfigError(f"arms.{arm}.method is {entry.method!r}, expected one of {', '.join(METHODS)}")
        return entry

    def _sections_of(self, arm: str, entry: Arm) -> tuple[dict[str, Any], dict[str, Any]]:
        """The values of `training` and `generations` as the arm changes them; a key that is not theirs is the method's.

        Raises ConfigError for one that is nobody's.
        """
        training, generations = self.training.model_dump(), self.generations.model_dump()
        own = {field.name for field in fields(options_of(entry.method))}
        for key, value in entry.values.items():
            if key in training:
                training[key] = value
            elif key in generations:
                generations[key] = value
            elif key not in own:
                known = ", ".join(sorted({*own, *training, *generations}))
                raise ConfigError(f"arms.{arm}.{key}: unknown key, expected of {entry.method} method or one of {known}")

        return training, generations

    def changes(self, arm: str) -> dict[str, Any]:
        """The arm's values that are not those of the arm that its method is named after, as far as there is one."""
        entry = self.arms[arm]
        plain = self.arms[entry.method].values if entry.method in self.arms else {}
        return {key: value for key, value in entry.values.items() if key not in plain or plain[key] != value}

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
        pairs = [
            *itertools.product([BASE_ARM, *self.main_arms], self.seeds),
            *itertools.product(self.extra_arms, self.extra_seeds),
            *itertools.product(self.sensitivity_arms, self.sensitivity_seeds),
        ]
        return list(dict.fromkeys(f"{arm}-{seed}" for arm, seed in pairs))


def load_params(path: Path | str = "params.yaml") -> Params:
    """Read and check a parameter file. Raises ConfigError with one line for each problem."""
    path = Path(path)
    try:
        raw = read_yaml(path, "correct it, or write one with `seal tier smoke`")
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: not found; run from the project's root, or write one with `seal tier smoke`"
        ) from None
    return parse_params(raw, str(path))


def parse_params(raw: object, origin: str) -> Params:
    """Check values as read from `origin`. Raises ConfigError with one line for each problem."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {_one_line(error)}") from None
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _are_known(key: str, names: Iterable[str], known: Sequence[str] | Mapping[str, Any], expected: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{key} names {name}, expected {expected}{', '.join(known)}")


def _one_line(error: ValidationError) -> str:
    words = {"extra_forbidden": "unknown key", "missing": "missing key"}
    lines = []
    for problem in error.errors():
        keys = [str(key) for key in problem["loc"] if key not in (OWN_MODEL, NAMED_MODEL)]
        place = ".".join(keys)
        message = words.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        value = "" if problem["type"] in (*words, "value_error") else f" (found {short(repr(problem['input']))})"
        lines.append(f"{place}: {message}{value}" if place else f"{message}{value}")

    more = len(lines) - MOST_PROBLEMS
    return "; ".join(lines[:MOST_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
