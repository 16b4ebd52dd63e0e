"""A copy of the project's files in another folder, for tests that run or change it there."""

import shutil
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def copy_project(folder: Path, names: Iterable[str]) -> None:
    """Copy files and folders of the project, by their paths in it."""
    for name in names:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
