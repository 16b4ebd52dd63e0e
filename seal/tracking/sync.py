"""The MLflow view from the record: `seal sync` makes it anew wherever it is missing or another."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from seal.errors import UserError
from seal.evidence import BrokenEvidence
from seal.runs import Evaluations, RunFolder, is_recorded
from seal.soundness import sound_run
from seal.stage_names import stage_of
from seal.timings import read_timings
from seal.tracking.database import errors_of
from seal.tracking.finished import FinishedRun
from seal.tracking.mlflow_view import View, Written, run_key
from seal.yaml_files import read_yaml


@dataclass(frozen=True)
class SyncOutcome:
    run: str
    status: Written | Literal["not recorded", "BROKEN", "no mean"]
    reason: str = ""  # of one that is BROKEN, or of an arm without a mean

    def __str__(self) -> str:
        return f"{self.run}: {self.status}" + (f": {self.reason}" if self.reason else "")


def sync(asked: Mapping[str, Evaluations], results: Path, timings: Path) -> list[SyncOutcome]:
    """Make the view of these runs, with these evaluations, equal to their record; a second call changes nothing. Other
    runs stay as they are, and so does one whose record is BROKEN.

    Raises UserError where the database cannot be used.
    """
    outcomes = {name: SyncOutcome(name, "not recorded") for name in asked}
    recorded = [name for name in asked if is_recorded(results / name)]
    if recorded:
        view, stages = View(Path.cwd()), stages_of(Path("dvc.lock"))
        for name in recorded:
            stage = stages.get(name)
            timing = timings / f"{stage or stage_of(name)}.csv"
            outcomes[name] = _sync_run(view, results / name, asked[name], stage, timing)
    return list(outcomes.values())


def _sync_run(view: View, folder: Path, evaluations: Evaluations, stage: str | None, timing: Path) -> SyncOutcome:
    try:
        with errors_of(folder.name):
            run = sound_run(folder, evaluations)
            return SyncOutcome(folder.name, _write_run(view, run, stage, timing))
    except BrokenEvidence as error:
        return SyncOutcome(folder.name, "BROKEN", str(error))


def _write_run(view: View, run: RunFolder, stage: str | None, timing: Path) -> Written:
    finished, rows = FinishedRun.of(run), run.history
    if view.shows(run_key(run.summary), finished.digest):
        return "unchanged"

    start, end = times_of(timing, run.folder, len(rows))
    epoch_ends = [start + (end - start) * epochs // len(rows) for epochs in range(1, len(rows) + 1)]

    run_id = view.begin(run.summary, stage, start)
    view.log_rows(run_id, rows, epoch_ends)
    view.finish(run_id, finished, end)
    return "written"


def stages_of(lock: Path) -> dict[str, str]:
    """The stage that wrote each run's record, by dvc.lock."""
    remedy = "`git restore dvc.lock` brings it back"
    document = read_yaml(lock, remedy) if lock.exists() else {"stages": {}}

    stage_of_run = {}
    try:
        for name, stage in document["stages"].items():
            for out in stage.get("outs", []):
                path = PurePosixPath(out["path"])
                if path.name == "summary.json":
                    stage_of_run[path.parent.name] = str(name)
    except (LookupError, TypeError, AttributeError):
        raise UserError(f"{lock}: not as DVC writes it; {remedy}") from None
    return stage_of_run


def times_of(timing: Path, folder: Path, epochs: int) -> tuple[int, int]:
    """Start and end in ms: the stage's last timing; without one the record's date, at a second an epoch."""
    if timing.exists() and (rows := read_timings(timing)):
        row = rows[-1]
        end = int(datetime.fromisoformat(row["date"]).timestamp() * 1000)
        return end - int(float(row["seconds"]) * 1000), end

    end = (folder / "history.csv").stat().st_mtime_ns // 1_000_000
    return end - 1000 * epochs, end
