"""The packages that the core needs, of those installed here: what its requirements name, and what those need."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def core_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(line) for line in project["dependencies"]]


def core_packages() -> set[str]:
    """Names of distributions, as the index normalises them."""
    packages: set[str] = set()
    new = core_requirements()
    while new:
        requirement = new.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and name not in packages:
            packages.add(name)
            new += map(Requirement, distribution(name).requires or ())
    return packages


def core_entries() -> dict[str, Path]:
    """What these packages put into site-packages: files and folders at its top, by name."""
    entries = {}
    for package in core_packages():
        for file in distribution(package).files or ():
            if file.parts[0] not in ("..", "__pycache__"):
                entries[file.parts[0]] = Path(str(distribution(package).locate_file(file.parts[0])))
    return entries
