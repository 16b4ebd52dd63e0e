"""The pipeline's stages by their names: which of them DVC would run, and what a name says. The plan asks."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from seal.config import BASE_ARM
from seal.evaluations import EVALUATIONS
from seal.sections import TRAINING as TRAINING
from seal.study.dvc_repo import dvc_errors, needs_of, with_all_below
from seal.tiers import tier_text

ORDER = ("fetch", "pack", *TRAINING, *EVALUATIONS)  # any other stage comes after these
LISTS = ("_extra", "_sensitivity")  # of arms, beside the main ones
STAGE = re.compile(r"(?P<name>\w+)(@(?P<key>.+))?")
RUN = re.compile(r"(?P<run>[a-z0-9_]+-\d+)(-(?P<target>[a-z0-9_]+))?")


class StageParts(NamedTuple):
    name: str
    run: str | None = None
    dataset: str | None = None  # an evaluation's target; what is fetched or packed


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
    for listed in LISTS:
        if name.removesuffix(listed) in EVALUATIONS:
            return name.removesuffix(listed)
    return name


def in_pipeline_order(stages: Iterable[str]) -> list[str]:
    """As far as names tell."""

    def place(stage: str) -> int:
        name = parts(stage).name
        return ORDER.index(name) if name in ORDER else len(ORDER)

    return sorted(stages, key=place)


def stages_to_run() -> list[str]:
    """What `dvc repro` would run here, in no order."""
    return sorted(needs_to_run())


def needs_to_run() -> dict[str, list[str]]:
    """What `dvc repro` would run here, each with those right above it that it would run too."""
    from dvc.repo import Repo

    with dvc_errors(), Repo() as repo:
        all_needs = needs_of(repo.index.graph)
        to_run = with_all_below(repo.status(), all_needs)

    needs = {}
    for stage, above in all_needs.items():
        if stage in to_run:
            needs[stage] = [name for name in above if name in to_run]
    return needs


def needs_of_tier(tier: str) -> dict[str, list[str]]:
    """Every stage of a tier with those right above it, in an order in which they can run."""
    with repo_of_tier(tier) as repo:
        return needs_of(repo.index.graph, attrgetter("name"))  # an addressing would name the folder


def stages_of_tier(tier: str) -> list[str]:
    """Every stage that a tier's parameters ask for."""
    return sorted(needs_of_tier(tier))


@contextmanager
def repo_of_tier(tier: str) -> Iterator[Any]:
    """DVC's, of a copy of the pipeline with a tier's parameters; nothing is changed here."""
    from dvc.repo import Repo

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / ".dvc").mkdir()
        (project / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
        shutil.copy("dvc.yaml", project)
        (project / "params.yaml").write_text(tier_text(tier), encoding="utf-8")

        with dvc_errors(), Repo(str(project)) as repo:
            yield repo
