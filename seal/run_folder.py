"""A run's folder as it stands on disk, and what is read of it: its summary, history, predictions and evaluations.

seal/runs.py reads many of them, seal/soundness.py asks whether what one says holds together. It knows the layout that a
training and an evaluation write; where an evaluation's numbers stand, a Measure says.
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from seal.errors import UserError
from seal.evidence import MEND, BrokenEvidence, Items, entry, finite_items, read_arrays, read_checked_json, read_summary
from seal.measure import NOWHERE, Cell, Measure
from seal.readings import EvaluationFile, Missing, Reading, Status, generation_of, reading
from seal.record import HISTORY_COLUMNS, SKIPPED, Row, read_history

Generation = int | Literal["last"]


class RunFolder:
    """A run's folder. Files are read once, when they are asked for; each that cannot be used is a BrokenEvidence."""

    def __init__(self, folder: Path, summary: Mapping[str, Any], evaluations: Collection[str] | None = None) -> None:
        """`evaluations`: the folders of eval/ that count; None for all that are there."""
        self.folder, self.summary = folder, summary
        self._evaluations = evaluations
        self._files: dict[Path, EvaluationFile] = {}

    @classmethod
    def read(cls, folder: Path, evaluations: Collection[str] | None = None) -> "RunFolder":
        return cls(folder, read_summary(folder / "summary.json"), evaluations)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def summary_path(self) -> Path:
        return self.folder / "summary.json"

    @property
    def arm(self) -> str:
        return str(self.summary["arm"])

    @property
    def seed(self) -> int:
        return int(self.summary["seed"])

    @property
    def last(self) -> int:
        """The last generation that it was to train."""
        return int(self.summary["generations"]["num_generations"])

    @property
    def diverged_in(self) -> int | None:
        """The generation in which it diverged."""
        diverged = self.summary["diverged"]
        return None if diverged is None else int(diverged["generation"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was trained by from generation to generation: the section `generations`, and its method's numbers,
        which stood in that section before they had one of their own."""
        return dict(self.summary["generations"]) | dict(self.summary.get("options", {}))

    def number(self, generation: Generation) -> int:
        return self.last if generation == "last" else generation

    def outcome(self, generation: Generation) -> Mapping[str, Any] | Missing:
        """What summary.json says of a generation's end."""
        wanted = self.number(generation)
        for outcome in self.summary["outcomes"]:
            if outcome["generation"] == wanted:
                return dict(outcome)

        if self.diverged_in is not None:
            return self._diverged()
        if wanted > self.last:
            return Missing("NOT-RUN", f"{self.name} ends at generation {self.last}")
        raise BrokenEvidence(f"{self.summary_path}: no outcome of generation {wanted}; {MEND}")

    def _diverged(self) -> Missing:
        return Missing("NOT-COMPARABLE", f"{self.name} diverged in generation {self.diverged_in}")

    @cached_property
    def history(self) -> list[Row]:
        path = self.existing("history.csv")
        try:
            rows = read_history(path)
        except UserError as error:
            raise BrokenEvidence(str(error)) from None

        if lacking := [column for column in HISTORY_COLUMNS if rows and column not in rows[0]]:
            raise BrokenEvidence(f"{path}: found no column {', '.join(lacking)}; {MEND}")
        return rows

    def existing(self, name: str) -> Path:
        path = self.folder / name
        if not path.is_file():
            raise BrokenEvidence(f"{path}: not found, though summary.json beside it records the run; {MEND}")
        return path

    def predictions(self, generation: Generation) -> tuple[Path, Items]:
        """Whether each test image was right at a generation's end, 0 or 1 [N], and the file that says so."""
        path = self.existing(f"predictions/gen-{self.number(generation):02d}.npz")
        return path, finite_items(read_arrays(path).get("correct"), path, "correct")

    def evaluation_folders(self, evaluation: str = "*") -> list[Path]:
        """Of every evaluation that was run or skipped; of those that the pattern names."""
        folders = []
        for path in sorted((self.folder / "eval").glob(evaluation)):
            of_killed_process = path.name.startswith(".")
            if path.is_dir() and not of_killed_process and self._counts(path.name):
                folders.append(path)
        return folders

    def _counts(self, evaluation: str) -> bool:
        return self._evaluations is None or evaluation in self._evaluations

    def evaluations(self, name: str) -> dict[int, EvaluationFile]:
        """Generation -> what an evaluation found, e.g. of `transfer-digits`; empty where it has not run."""
        paths = sorted((self.folder / "eval" / name).glob("gen-*.json")) if self._counts(name) else []
        return {generation_of(path): self._evaluation_file(path) for path in paths}

    def skipped(self, name: str) -> Missing | None:
        """Why an evaluation was skipped."""
        path = self.folder / "eval" / name / SKIPPED
        if not path.is_file():
            return None
        skip = read_checked_json(path)
        status: Status = "SKIPPED-DATA" if entry(skip, "status", path) == "SKIPPED-DATA" else "NOT-COMPARABLE"
        return Missing(status, f"{self.name}/eval/{name}: {entry(skip, 'reason', path)}")

    def evaluation(self, name: str, generation: Generation, target: str | None = None) -> EvaluationFile | Missing:
        """What an evaluation found of a generation's network."""
        name = name if target is None else f"{name}-{target}"
        folder, wanted = self.folder / "eval" / name, self.number(generation)
        if not folder.is_dir() or not self._counts(name):
            return Missing("NOT-RUN", f"{self.name}: {name} has not been run")
        if skipped := self.skipped(name):
            return skipped

        path = folder / f"gen-{wanted:02d}.json"
        if path.is_file():
            return self._evaluation_file(path)
        if self.diverged_in is not None and wanted >= self.diverged_in:
            return self._diverged()
        if any(folder.glob("gen-*.json")):
            return Missing("NOT-RUN", f"{self.name}: {name} has not been run for generation {wanted}")
        raise BrokenEvidence(f"{folder}: neither gen-{wanted:02d}.json nor {SKIPPED}; {MEND}")

    def measured(
        self, evaluation: str, measure: Measure, generation: Generation, cell: Cell = NOWHERE, items: bool = True
    ) -> Reading | Missing:
        """A number of an evaluation, at a cell, whose target is the evaluation's. Without `items` no array is read."""
        file = self.evaluation(evaluation, generation, cell.target)
        if isinstance(file, Missing):
            return file
        return reading(self.name, file.path.parent.name, file, measure, cell, items)

    def _evaluation_file(self, path: Path) -> EvaluationFile:
        if path not in self._files:
            record = read_checked_json(path)
            self._files[path] = EvaluationFile(
                path, entry(record, "values", path), record.get("params", {}), record.get("data_sha256")
            )
        return self._files[path]
