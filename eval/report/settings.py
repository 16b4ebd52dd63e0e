"""What a report says of how its runs were made: the tier's arms and their changes, and the values they were trained by.

The values of committed runs are read by the record's own keys, so that a record may be older than a key, or newer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal.config import Params, load_params
from seal.errors import UserError
from seal.record import RESULTS
from seal.runs import Runs, are_folders, one_of_each_tier
from seal.sections import BASE_ARM
from seal.stage_names import asked_stages
from seal.tiers import tier_params

NOT_RECORDED = "not recorded"
Values = Mapping[str, Any]  # as params.yaml is laid out: sections, and `arms` with their own values


@dataclass(frozen=True)
class Study:
    """Runs of one tier, in the order in which tables show them."""

    params: Params  # the tier's
    runs: Runs
    values: Values  # what its runs were trained by

    @property
    def main_arms(self) -> list[str]:
        return [arm for arm in self.runs.arms if arm in (BASE_ARM, *self.params.main_arms)]

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    def value(self, *place: str) -> Any:
        """What its runs were trained by, e.g. at `training`, `batch_size`."""
        values: Any = self.values
        for key in place:
            if key not in values:
                return NOT_RECORDED
            values = values[key]
        return values


def own_study() -> Study:
    """Of results/ the runs of the active parameters."""
    params = load_params()
    return Study(params, Runs.read([RESULTS], asked_stages(params)), params.model_dump(mode="json"))


def by_tier(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Folders of runs by the tier of these. Raises UserError where one has no run, or runs of several tiers."""
    are_folders(folders)
    tiers: dict[str, list[Path]] = {}
    for folder in folders:
        runs = one_of_each_tier(folder)
        if not len(runs):
            problem = f"{folder}: found no run that holds together, expected some, as in expected/mini"
            raise UserError(f"{problem}; `seal claims --record {folder}` says what is BROKEN")
        tiers.setdefault(str(runs.the_same("tier")), []).append(folder)
    return tiers


def recorded_study(folders: Sequence[Path]) -> Study:
    """All runs of these folders. Raises UserError where their tiers differ, ConfigError for an arm that the tier does
    not know."""
    are_folders(folders)
    runs = Runs.read(folders)
    params = params_of(runs.the_same("tier"))
    for run in runs:
        params.find_run(run.name)

    arms = [BASE_ARM, *params.main_arms, *params.extra_arms, *params.sensitivity_arms, *params.arms]
    ordered = Runs(sorted(runs, key=lambda run: (arms.index(run.arm), run.seed)), broken=runs.broken)
    return Study(params, ordered, recorded_values(ordered))


def params_of(tier: str | None) -> Params:
    """The parameters of a tier: the active ones where they are its own, or where none is asked for."""
    active = load_params()
    return active if tier in (active.tier, None) else tier_params(str(tier))


def recorded_values(runs: Runs) -> Values:
    """What the runs' summaries say: each arm's own values, and the sections by the arms that change nothing of their
    method; where none does, by the base."""
    arms: dict[str, Any] = {}
    for run in runs:
        arms.setdefault(run.arm, run.settings)

    unchanged = [run for run in runs if run.arm == run.summary.get("method")]
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    generations: dict[str, Any] = {}
    for run in unchanged or runs.of(BASE_ARM):  # of several values the first run's
        model = {**run.summary.get("model", {}), **model}
        training = {**run.summary.get("training", {}), **training}
        generations = {**run.settings, **generations}
    return {"model": model, "training": training, "generations": generations, "arms": arms}
