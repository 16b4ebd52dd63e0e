"""The MLflow view from the record: `seal sync` makes it anew wherever it is missing or another."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

import yaml

from seal.errors import UserError
from seal.record import read_history
from seal.tracking.mlflow_view import DIGEST, REMEDY, View, is_recorded, read_record, run_key


@dataclass(frozen=True)
class SyncOutcome:
    run: str
    status: Literal["written", "unchanged", "not recorded"]


def sync(run_names: Sequence[str], results: Path, timings: Path) -> list[SyncOutcome]:
    """Make the view of these runs equal to their record; a second call changes nothing. Other runs stay as they are.

    Raises UserError where the database cannot be used or a record cannot be read.
    """
    recorded = [name for name in run_names if is_recorded(results / name)]
    if not recorded:
        return [SyncOutcome(name, "not recorded") for name in run_names]
    view, stages = View(Path.cwd()), stages_of(Path("dvc.lock"))
    from mlflow.exceptions import MlflowException

    outcomes = []
    for name in run_names:
        if name not in recorded:
            outcomes.append(SyncOutcome(name, "not recorded"))
            continue
        try:
            outcomes.append(_sync_run(view, results / name, stages.get(name), timings))
        except (LookupError, TypeError, ValueError) as error:
            remedy = "`dvc checkout` or `dvc repro` restores it"
            raise UserError(f"{results / name}: not a record of this version ({error!r}); {remedy}") from error
        except MlflowException as error:
            raise UserError(f"{name} in mlflow.db: {str(error).splitlines()[0]}; {REMEDY}") from error
    return outcomes


def _sync_run(view: View, folder: Path, stage: str | None, timings: Path) -> SyncOutcome:
    record, rows = read_record(folder), read_history(folder / "history.csv")
    found = view.find(run_key(record.summary))
    current = next((run for run in found if run.data.tags.get(DIGEST) == record.digest), None)
    if current is not None:
        view.remove([run for run in found if run is not current])
        return SyncOutcome(folder.name, "unchanged")
    start, end = times_of(timings / f"{stage or f'train@{folder.name}'}.csv", folder, len(rows))
    run_id = view.begin(record.summary, stage, start)
    view.log_rows(run_id, rows, [start + (end - start) * (index + 1) // len(rows) for index in range(len(rows))])
    view.finish(run_id, record, end)
    return SyncOutcome(folder.name, "written")


def stages_of(lock: Path) -> dict[str, str]:
    """The stage that wrote each run's record, by dvc.lock."""
    stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.exists() else {}
    outs = [(PurePosixPath(out["path"]), name) for name, stage in stages.items() for out in stage.get("outs", [])]
    return {path.parent.name: name for path, name in outs if path.name == "summary.json"}


def times_of(timing: Path, folder: Path, epochs: int) -> tuple[int, int]:
    """Start and end in ms: the stage's last timing; without one the record's date, at a second an epoch."""
    if timing.exists():
        with timing.open(encoding="utf-8", newline="") as file:
            *_, row = csv.DictReader(file)
        end = int(datetime.fromisoformat(row["date"]).timestamp() * 1000)
        return end - int(float(row["seconds"]) * 1000), end
    end = (folder / "history.csv").stat().st_mtime_ns // 1_000_000
    return end - 1000 * epochs, end
