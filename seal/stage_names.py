"""The pipeline's stages by their names: what a name says, and by which stages params.yaml has a run made."""

import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from seal.config import ARM_LISTS, EVALUATED_LISTS, SEED_LISTS, Params
from seal.errors import short
from seal.evaluations import EVALUATIONS, evaluation_and_target
from seal.evidence import MEND, BrokenEvidence, read_checked_json
from seal.sections import BASE_ARM, TRAINING

LISTS = ("", "_extra", "_sensitivity")  # of arms, the main ones first
STAGES = "stages.json"  # of a kept run: its stages, with their parameters, code and data
TRAINED = ""  # the training's key among the folders of a run's evaluations
STAGE = re.compile(r"(?P<name>\w+)(@(?P<key>.+))?")
RUN = re.compile(r"(?P<run>[a-z0-9_]+-\d+)(-(?P<target>[a-z0-9_]+))?")


class StageParts(NamedTuple):
    name: str
    run: str | None = None
    dataset: str | None = None  # an evaluation's target; what is fetched or packed

    @property
    def folder(self) -> str:
        """Of an evaluation's stage the folder in eval/ that it writes."""
        return f"{self.name}-{self.dataset}" if self.dataset else self.name


def parts(stage: str) -> StageParts:
    """What a stage's name says: `transfer@seal-0-digits` -> transfer, seal-0, digits; of any list of arms."""
    match = STAGE.fullmatch(stage)
    if match is None:  # of another version, or by hand
        return StageParts(stage)
    name, key = _without_list(match["name"]), match["key"]

    if name == "base":
        return StageParts(name, f"{BASE_ARM}-{key}")
    if name in ("fetch", "pack") or key is None:
        return StageParts(name, dataset=key)

    run = RUN.fullmatch(key)
    return StageParts(name, run["run"], run["target"]) if run else StageParts(name, dataset=key)


def _without_list(name: str) -> str:
    """An evaluation's own name, whichever list of arms a stage of it is for: `transfer_extra` -> transfer."""
    for listed in LISTS[1:]:
        if name.removesuffix(listed) in EVALUATIONS:
            return name.removesuffix(listed)
    return name


def stage_of(run: str, folder: str = TRAINED, listed: str = "") -> str:
    """The stage that trains a run, or writes a folder of its eval/, where its arm is of that list."""
    arm, _, seed = run.rpartition("-")
    evaluation, target = evaluation_and_target(folder)
    if folder == TRAINED:
        return f"base@{seed}" if arm == BASE_ARM else f"train{listed}@{run}"
    return f"{evaluation}{listed}@{run}" + (f"-{target}" if target else "")


def asked_stages(params: Params) -> dict[str, dict[str, str]]:
    """Run -> the stages that the parameters have it made by: its training's at TRAINED, an evaluation's at the name of
    the folder that it writes."""
    by_run: dict[str, dict[str, str]] = {}
    for listed, arm_list, seed_list, evaluated_list in zip(LISTS, ARM_LISTS, SEED_LISTS, EVALUATED_LISTS, strict=True):
        arms = [*([] if listed else [BASE_ARM]), *getattr(params, arm_list)]
        for arm, seed in product(arms, getattr(params, seed_list)):
            run = f"{arm}-{seed}"
            stages = by_run.setdefault(run, {TRAINED: stage_of(run, listed=listed)})
            if arm in getattr(params, evaluated_list):
                stages |= {folder: stage_of(run, folder, listed) for folder in _folders(params)}
    return by_run


def _folders(params: Params) -> list[str]:
    """Of eval/ those that the parameters' evaluations write."""
    folders = []
    for name, evaluation in EVALUATIONS.items():
        targets = getattr(params, name).targets if evaluation.targeted else [None]
        folders += [StageParts(name, dataset=target).folder for target in targets]
    return folders


def kept_stages(folder: Path) -> dict[str, str]:
    """The same of a run that `seal study` has kept, as it says; nothing of one that was kept otherwise."""
    return by_folder(read_stages(folder))


def read_stages(folder: Path) -> Mapping[str, Any]:
    """What stages.json of a run's folder says, by the stages' names; nothing where there is none. Raises BrokenEvidence
    for one that is damaged."""
    path = folder / STAGES
    if not path.is_file():
        return {}

    stages = read_checked_json(path)
    if not isinstance(stages, Mapping):
        problem = f"found {short(repr(stages))}, expected a run's stages by their names"
        raise BrokenEvidence(f"{path}: it all: {problem}; {MEND}")
    return stages


def by_folder(stages: Iterable[str]) -> dict[str, str]:
    """The stages of one run by what they write: the training's at TRAINED, an evaluation's at its folder of eval/."""
    written = {}
    for stage in stages:
        step = parts(stage)
        written[TRAINED if step.name in TRAINING else step.folder] = stage
    return written
