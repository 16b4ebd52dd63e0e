"""Folders of runs as they stand on disk: results/, and committed ones of the same layout. The one reader.

Claims, report, study tables, `seal compare`, the MLflow view and the plan read a run through it. What a run's
folder holds is seal/run_folder.py's to know; a run whose parts contradict one another (seal/soundness.py) is none here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seal.errors import UserError
from seal.evidence import BrokenEvidence
from seal.record import file_sha256
from seal.run_folder import Generation as Generation
from seal.run_folder import RunFolder as RunFolder
from seal.soundness import sound_run

Evaluations = Collection[str] | None  # of a run those that count, e.g. transfer-digits; None: all that are there
RECORD = ("history.csv", "summary.json")  # a folder with both is a run's


class Runs:
    """Runs by arm and seed, in the order in which they were named."""

    def __init__(self, runs: Iterable[RunFolder], broken: Mapping[str, str] | None = None) -> None:
        self._runs = {(run.arm, run.seed): run for run in runs}
        self.broken = dict(broken or {})  # runs that are no evidence, by name, and why

    @classmethod
    def read(cls, folders: Sequence[Path], asked: Mapping[str, Evaluations] | None = None) -> "Runs":
        """Every run that the folders hold, or those that are asked for; what else lies in a run's eval/, of an earlier
        tier, is then not looked at. A run that contradicts itself or cannot be read is in `broken`.

        Raises UserError where a folder is not there, or two hold one run with different records.
        """
        places: dict[str, Path] = {}
        for folder in folders:
            for path in sorted(folder.glob("*/summary.json")):
                earlier = places.setdefault(path.parent.name, path.parent)
                if earlier != path.parent and file_sha256(earlier / "summary.json") != file_sha256(path):
                    raise UserError(f"{path} and {earlier}: two records of one run differ; give only one of them")

        wanted = dict.fromkeys(sorted(places)) if asked is None else asked
        chosen = {places[name]: evaluations for name, evaluations in wanted.items() if name in places}
        runs, broken = sound_runs(chosen)
        return cls(runs, broken)

    def __iter__(self) -> Iterator[RunFolder]:
        return iter(self._runs.values())

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(arm for arm, _ in self._runs))

    def of(self, arm: str) -> list[RunFolder]:
        """An arm's runs, a seed each."""
        return [run for run in self if run.arm == arm]

    def seeds(self, arm: str) -> list[int]:
        return sorted(run.seed for run in self.of(arm))

    def of_seeds(self, seeds: Collection[int]) -> "Runs":
        return Runs([run for run in self if run.seed in seeds], self.broken)

    def get(self, arm: str, seed: int) -> RunFolder | None:
        return self._runs.get((arm, seed))

    def targets(self, evaluation: str, results: str = "*") -> list[str]:
        """Targets of an evaluation that has run, or was skipped, in any run, as they are met; `results`: those that
        have a file of this pattern."""
        met = []
        for run in self:
            for folder in run.evaluation_folders(f"{evaluation}-*"):
                if any(folder.glob(results)):
                    met.append(folder.name.removeprefix(f"{evaluation}-"))
        return list(dict.fromkeys(met))

    def the_same(self, key: str) -> Any:
        """What every run's summary has at `key`; None without runs. Raises UserError where they differ."""
        first = next(iter(self), None)
        if first is None:
            return None
        for run in self:
            ours, theirs = _differing(first.summary.get(key), run.summary.get(key))
            if ours != theirs:
                places = f"{first.folder} ({ours}) and {run.folder} ({theirs})"
                raise UserError(f"{key} differs between {places}; give records of one study")
        return first.summary.get(key)


def _differing(ours: Any, theirs: Any) -> tuple[Any, Any]:
    """Of two sections the entries that differ; other values as they are."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return ours, theirs
    keys = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
    return {key: ours.get(key) for key in keys}, {key: theirs.get(key) for key in keys}


def sound_runs(folders: Mapping[Path, Evaluations]) -> tuple[list[RunFolder], dict[str, str]]:
    """The runs in these folders that hold together, each with its evaluations that count; of the others, by name, why
    they do not."""
    runs, broken = [], {}
    for folder, evaluations in folders.items():
        try:
            runs.append(sound_run(folder, evaluations))
        except BrokenEvidence as error:
            broken[folder.name] = str(error)
    return runs, broken


def one_of_each_tier(record: Path) -> Runs:
    """Of a record's runs that hold together the first of every tier: to check them all takes ten times as long."""
    by_tier: dict[Any, RunFolder] = {}
    for path in sorted(record.glob("*/summary.json")):
        with suppress(BrokenEvidence):
            if RunFolder.read(path.parent).summary.get("tier") not in by_tier:
                run = sound_run(path.parent)
                by_tier[run.summary.get("tier")] = run
    return Runs(by_tier.values())


def is_recorded(folder: Path) -> bool:
    return all((folder / name).is_file() for name in RECORD)


def are_folders(folders: Sequence[Path]) -> None:
    """Raises UserError for one that is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder, expected one of runs, as expected/mini")
