"""Which of the pipeline's stages DVC would run, and in which order. The plan asks."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

from seal.evaluations import EVALUATIONS
from seal.sections import TRAINING
from seal.stage_names import parts
from seal.study.dvc_repo import dvc_errors, needs_of, with_all_below
from seal.tiers import tier_text

ORDER = ("fetch", "pack", *TRAINING, *EVALUATIONS)  # any other stage comes after these


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
