"""Evidence that cannot be used is an error that names the file; and what summary.json has to hold, checked once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from seal.errors import UserError
from seal.record import read_json

MEND = "`dvc checkout` or `dvc repro` restores it"


class BrokenEvidence(UserError):
    """Something that the record says is there is missing or cannot be used; the message names the file."""


class Open(BaseModel):
    """Of many entries those that are read."""

    model_config = ConfigDict(extra="allow", strict=True)


class Generations(Open):
    num_generations: int
    schedule: str
    layer_threshold: str


class Generation(Open):
    generation: int


class Summary(Open):
    arm: str
    seed: int
    tier: str
    data: str
    data_sha256: str
    provenance: dict[str, Any]
    generations: Generations
    outcomes: list[Generation]
    final: dict[str, Any] | None
    diverged: Generation | None


def are_folders(folders: Sequence[Path]) -> None:
    """Raises UserError for one that is not there."""
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise UserError(f"{missing[0]}: no such folder, expected one of runs, as expected/mini")


def load_json(path: Path) -> Any:
    """Raises BrokenEvidence for what is not JSON."""
    try:
        return read_json(path)
    except ValueError as error:
        raise BrokenEvidence(f"{path}: not JSON ({error}); {MEND}") from None


def load_summary(path: Path) -> Mapping[str, Any]:
    """A run's summary.json as it stands. Raises BrokenEvidence where it lacks what a training writes."""
    raw = load_json(path)
    try:
        found = Summary.model_validate(raw)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise BrokenEvidence(f"{path}: {place or 'it all'}: {problem['msg']}; {MEND}") from None
    if f"{found.arm}-{found.seed}" != path.parent.name:
        raise BrokenEvidence(f"{path}: found run {found.arm}-{found.seed}, expected {path.parent.name}; {MEND}")
    return dict(raw)
