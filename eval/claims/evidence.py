"""Reads the record for the claims: a run's value of a measure, with its values per test item where there are any."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from eval.claims.rule import Verdict
from seal.errors import UserError
from seal.evidence import MEND, BrokenEvidence, read_checked_json, read_summary
from seal.record import Row, file_sha256, read_history

Generation = int | Literal["last"]
Items = NDArray[np.float64]


class Absent(Exception):
    """There is no value, for a reason that is a verdict: NOT-RUN, SKIPPED-DATA, or NOT-COMPARABLE."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict, self.reason = verdict, reason


@dataclass(frozen=True)
class Cell:
    """Where in an evaluation a number stands; what does not apply is None."""

    target: str | None = None
    shot: int | None = None
    block: str | None = None

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.target, self.shot and f"{self.shot}-shot", self.block) if part)


@dataclass(frozen=True)
class Reading:
    """A value in the measure's unit, and its parts [N], one a test item, whose mean it is."""

    value: float
    items: Items | None
    files: tuple[Path, ...]
    limit: float = 0.0  # of a share of which none was seen, the 95% upper limit; in the measure's unit


@dataclass
class RunRecord:
    """A run's folder, of results/ or of the same layout without weights. Files are read once."""

    folder: Path
    summary: Mapping[str, Any]
    _json: dict[Path, Any] = field(default_factory=dict)
    _arrays: dict[Path, Mapping[str, NDArray[Any]]] = field(default_factory=dict)
    _history: list[Row] = field(default_factory=list)

    @property
    def arm(self) -> str:
        return str(self.summary["arm"])

    @property
    def seed(self) -> int:
        return int(self.summary["seed"])

    @property
    def last(self) -> int:
        return int(self.summary["generations"]["num_generations"])

    def number(self, generation: Generation) -> int:
        return self.last if generation == "last" else generation

    def outcome(self, generation: Generation) -> Mapping[str, Any]:
        """What summary.json says of a generation's end. Raises Absent where the run has not come so far."""
        wanted, diverged = self.number(generation), self.summary["diverged"]
        found = next((each for each in self.summary["outcomes"] if each["generation"] == wanted), None)
        if found is None and diverged:
            raise Absent(Verdict.NOT_COMPARABLE, f"{self.folder.name} diverged in generation {diverged['generation']}")
        if found is None and wanted > self.last:
            raise Absent(Verdict.NOT_RUN, f"{self.folder.name} ends at generation {self.last}")
        if found is None:
            raise BrokenEvidence(f"{self.folder / 'summary.json'}: no outcome of generation {wanted}; {MEND}")
        return dict(found)

    def history(self) -> list[Row]:
        self._history = self._history or read_history(self.existing("history.csv"))
        return self._history

    def existing(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise BrokenEvidence(f"{path}: not found, though summary.json beside it records the run; {MEND}")
        return path

    def arrays(self, name: str) -> Mapping[str, NDArray[Any]]:
        path = self.existing(name)
        if path not in self._arrays:
            try:
                with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                    self._arrays[path] = dict(file)
            except (OSError, EOFError, ValueError, BadZipFile) as error:
                raise BrokenEvidence(f"{path}: not arrays as numpy writes them ({error}); {MEND}") from None
        return self._arrays[path]

    def evaluation(self, name: str, generation: Generation) -> tuple[Path, Mapping[str, Any]]:
        """The JSON's path and values. Raises Absent where it has not run, or was skipped."""
        folder, wanted = self.folder / "eval" / name, self.number(generation)
        skipped, path = folder / "skipped.json", folder / f"gen-{wanted:02d}.json"
        if skipped.is_file():
            reason = self.json(skipped)
            no_data = entry(reason, "status", skipped) == "SKIPPED-DATA"
            words = f"{self.folder.name}/eval/{name}: {entry(reason, 'reason', skipped)}"
            raise Absent(Verdict.SKIPPED_DATA if no_data else Verdict.NOT_COMPARABLE, words)
        if not folder.is_dir():
            raise Absent(Verdict.NOT_RUN, f"{self.folder.name}: {name} has not been run")
        if not path.is_file():
            if not any(folder.glob("gen-*.json")):
                raise BrokenEvidence(f"{folder}: neither gen-{wanted:02d}.json nor skipped.json; {MEND}")
            raise Absent(Verdict.NOT_RUN, f"{self.folder.name}: {name} has not been run for generation {wanted}")
        return path, entry(self.json(path), "values", path)

    def json(self, path: Path) -> Any:
        if path not in self._json:
            self._json[path] = read_checked_json(path)
        return self._json[path]


class Record:
    """Runs by arm and seed, all of one tier, one dataset and one network."""

    def __init__(self, runs: Sequence[RunRecord], targets: Mapping[str, Sequence[str]] | None = None) -> None:
        self.runs = {(run.arm, run.seed): run for run in runs}
        self.targets = targets  # evaluation -> the targets that count; None: all that are found
        self.tier = _the_same(runs, "tier")
        for key in ("data_sha256", "model"):
            _the_same(runs, key)

    @classmethod
    def read(
        cls, folders: Sequence[Path], names: Sequence[str] | None = None,
        targets: Mapping[str, Sequence[str]] | None = None,
    ) -> "Record":  # fmt: skip
        """Every run with a summary.json in these folders, of `names` if given. Raises UserError where two folders hold
        one run with different records, or where runs cannot be compared."""
        runs: dict[str, RunRecord] = {}
        for path in sorted(path for folder in folders for path in folder.glob("*/summary.json")):
            name = path.parent.name
            if names is not None and name not in names:
                continue
            if name in runs and file_sha256(path) != file_sha256(runs[name].folder / "summary.json"):
                raise UserError(f"{path} and {runs[name].folder}: two records of one run differ; give only one of them")
            if name in runs:
                continue
            runs[name] = RunRecord(path.parent, read_summary(path))
        return cls(list(runs.values()), targets)

    def seeds(self, arm: str) -> list[int]:
        return sorted(seed for name, seed in self.runs if name == arm)

    def run(self, arm: str, seed: int) -> RunRecord:
        if (arm, seed) not in self.runs:
            raise Absent(Verdict.NOT_RUN, f"no run {arm}-{seed}")
        return self.runs[arm, seed]

    def targets_of(self, evaluation: str, results: str = "*") -> list[str]:
        """Targets of an evaluation that has run, or was skipped, anywhere in the record; `results`: by these files."""
        found = {
            path.parent.name.removeprefix(f"{evaluation}-")
            for run in self.runs.values()
            for path in (run.folder / "eval").glob(f"{evaluation}-*/{results}")
        }
        return sorted(found if self.targets is None else found & set(self.targets.get(evaluation, ())))


def _the_same(runs: Sequence[RunRecord], key: str) -> Any:
    for run in runs:
        if run.summary.get(key) != runs[0].summary.get(key):
            places = f"{runs[0].folder} ({runs[0].summary.get(key)}) and {run.folder} ({run.summary.get(key)})"
            raise UserError(f"{key} differs between {places}; give records of one study")
    return runs[0].summary.get(key) if runs else None


def entry(values: Any, key: str, path: Path) -> Any:
    """What stands at `key`. Raises BrokenEvidence where nothing does."""
    if not isinstance(values, Mapping) or key not in values:
        raise BrokenEvidence(f"{path}: no {key!r}, which this version expects; {MEND}")
    return values[key]


def finite(value: Any, path: Path, key: str) -> float:
    """The number that stands at `key`. Raises BrokenEvidence for anything else, NaN included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BrokenEvidence(f"{path}: {key}: found {value!r}, expected a finite number; {MEND}")
    return float(value)


def finite_items(values: Any, path: Path, key: str) -> Items:
    if values is None or values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BrokenEvidence(f"{path}: {key}: expected finite numbers, one a test item; {MEND}")
    return np.asarray(values, np.float64)
