"""The MLflow database as a view of the record: what a run looks like in it. seal/tracking.py says when it is written.

Runs are found by the tag `seal.run_key`, since MLflow's own identifiers differ from machine to machine. A run whose tag
`seal.digest` equals the record's hash is complete and up to date: that tag is always written last.
"""

import json
import logging
import math
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from seal.errors import UserError
from seal.record import METRIC_COLUMNS, Row, read_json, run_digest

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

EXPERIMENT = "seal"
KEY, DIGEST = "seal.run_key", "seal.digest"
FILES = ("history.csv", "summary.json")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
LARGEST_BATCH = 1000  # metrics that MLflow takes in one call

# What MLflow's menu "Views" shows as "Results": the runs by test accuracy, highest first, in the columns that matter.
RESULTS_VIEW = "mlflow.sharedViewState.results"
RESULTS_COLUMNS = {"tags.`tier`": 70, "tags.`arm`": 120, "tags.`seed`": 60}  # and their widths in pixels
RESULTS_COLUMNS |= {
    f"metrics.`final/{name}_accuracy`": width for name, width in (("test", 160), ("val", 140), ("train", 140))
}
RESULTS_WIDTHS = {"attributes.`Run Name`": 150, "runDateAndNestInfo": 140, "duration": 80} | RESULTS_COLUMNS
RESULTS_STATE = {
    "selectedColumns": list(RESULTS_COLUMNS),
    "columnOrder": list(RESULTS_WIDTHS),
    "columnWidths": RESULTS_WIDTHS,
    "orderByKey": "metrics.`final/test_accuracy`",
    "orderByAsc": False,
    "runsHiddenMode": "SHOWALL",
}
REMEDY = "it is only a view: close what uses it, or delete it, then `seal sync`"

Facts = Mapping[str, Any]  # what summary.json says of a run beside its results


@dataclass(frozen=True)
class Record:
    """A run's record beside its epochs, as JSON values."""

    summary: dict[str, Any]
    evaluations: dict[str, Any]  # the `values` of each file in eval/, by folder and generation
    files: dict[str, str]  # the text of FILES
    digest: str


def is_recorded(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FILES)


def read_record(folder: Path) -> Record:
    written = sorted((folder / "eval").glob("*/gen-*.json"))
    evaluations = {f"{path.parent.name}-{path.stem}": read_json(path)["values"] for path in written}
    files = {name: (folder / name).read_text(encoding="utf-8") for name in FILES}
    return Record(read_json(folder / "summary.json"), evaluations, files, run_digest(folder))


def database(root: Path) -> Path:
    return root / "mlflow.db"


def address(root: Path) -> str:
    """Explicit and absolute: MLflow's default depends on the working directory and on the environment."""
    return f"sqlite:///{database(root.resolve())}"


def artifacts(root: Path) -> Path:
    return root / "mlartifacts"


def run_key(facts: Facts) -> str:
    return f"{facts['tier']}/{facts['run']}"


def database_problem(root: Path) -> str | None:
    """Why MLflow could not write to its database, or None. MLflow itself would retry a hopeless file for minutes."""
    path = database(root)
    if not path.exists():
        return None if os.access(root, os.W_OK) else f"{path.name}: its folder is not writable"
    try:
        with closing(sqlite3.connect(path, timeout=5)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        return f"{path.name}: {error}"
    return None


class View:
    """The view of the project in folder `root`. Raises UserError where its database cannot be used."""

    def __init__(self, root: Path) -> None:
        os.environ.update(QUIET)
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.root = root
        if problem := database_problem(root):
            raise UserError(f"{problem}; {REMEDY}")
        try:
            # Two processes that create the database at once, each by MLflow's migrations, break each other's.
            with FileLock(f"{database(root)}.lock"):
                self.client = MlflowClient(tracking_uri=address(root), registry_uri=address(root))
                self.experiment_id = self._experiment()
        except MlflowException as error:
            raise UserError(f"mlflow.db: {str(error).splitlines()[0]}; {REMEDY}") from error

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            # The server resolves this scheme; a plain path would be stored absolute, and a move would break it.
            place = f"mlflow-artifacts:/{EXPERIMENT}"
            found = self.client.get_experiment(self.client.create_experiment(EXPERIMENT, artifact_location=place))
        elif found.lifecycle_stage != "active":  # a deleted experiment's name stays taken
            self.client.restore_experiment(found.experiment_id)
        results = json.dumps({"name": "Results", "createdAt": 0, "updatedAt": 0, "state": json.dumps(RESULTS_STATE)})
        if found.tags.get(RESULTS_VIEW) != results:
            self.client.set_experiment_tag(found.experiment_id, RESULTS_VIEW, results)
        return str(found.experiment_id)

    def page(self, host: str, port: int) -> str:
        """The address of the runs' table, once a server runs there."""
        query = f"workflowType=machine_learning&viewStateShareKey={RESULTS_VIEW.rpartition('.')[2]}"
        return f"http://{host}:{port}/#/experiments/{self.experiment_id}/runs?{query}"

    def find(self, key: str) -> "list[MlflowRun]":
        return list(self.client.search_runs([self.experiment_id], filter_string=f"tags.`{KEY}` = '{key}'"))

    def remove(self, runs: "Sequence[MlflowRun]") -> None:
        for run in runs:
            self.client.delete_run(run.info.run_id)
            shutil.rmtree(artifacts(self.root) / EXPERIMENT / run.info.run_id, ignore_errors=True)

    def begin(self, facts: Facts, stage: str | None, start: int) -> str:
        """A new run in place of every earlier one with its key; `start` in ms. Returns MLflow's identifier."""
        from mlflow.entities import Param

        self.remove(self.find(run_key(facts)))
        tags = {KEY: run_key(facts)} | {name: str(facts[name]) for name in ("tier", "arm", "method", "seed")}
        tags |= {"data.sha256": facts["data_sha256"]} | git_tags(self.root) | ({"dvc.stage": stage} if stage else {})
        run = self.client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=facts["run"])
        params = {"data": facts["data"]} | {
            f"{section}.{name}": value
            for section in ("model", "training", "generations", "options")
            for name, value in facts.get(section, {}).items()
        }
        self.client.log_batch(run.info.run_id, params=[Param(name, str(value)) for name, value in params.items()])
        return str(run.info.run_id)

    def log_rows(self, run_id: str, rows: Sequence[Row], times: Sequence[int]) -> None:
        """The epochs' metrics at `times` in ms; the step is the global epoch. What was not measured is left out."""
        self._log(
            run_id,
            [
                (name, row[name], time, row["global_epoch"])
                for row, time in zip(rows, times, strict=True)
                for name in ("generation", "epoch", *METRIC_COLUMNS)
                if row.get(name) is not None
            ],
        )

    def finish(self, run_id: str, record: Record, end: int) -> None:
        """What is known once a run is over, at `end` in ms; the digest last of all."""
        points = [
            (name, outcome[name], end, outcome["global_epoch"])
            for outcome in record.summary["outcomes"]
            for name in ("test_loss", "test_accuracy")
        ]
        self._log(run_id, points)
        self.log_final(run_id, final_values(record), end)
        if record.summary["diverged"]:
            self.client.set_tag(run_id, "diverged", json.dumps(record.summary["diverged"]))
        self.close(run_id, record.files, record.digest, end)

    def close(self, run_id: str, files: Mapping[str, str], digest: str, end: int) -> None:
        """The texts of `files`, by their path among the run's artifacts, and the marks of a run that is complete."""
        copies = artifacts(self.root) / EXPERIMENT / run_id / "artifacts"
        for name, text in files.items():
            (copies / name).parent.mkdir(parents=True, exist_ok=True)
            (copies / name).write_text(text, encoding="utf-8", newline="")
        self.client.set_terminated(run_id, "FINISHED", end)
        self.client.set_tag(run_id, DIGEST, digest)

    def log_final(self, run_id: str, values: Iterable[tuple[str, float]], time: int) -> None:
        """Metrics with one value. MLflow draws bars, not a line, for a metric that has step 0 alone."""
        self._log(run_id, [(name, value, time, 0) for name, value in values])

    def _log(self, run_id: str, points: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, float(value), time, step) for name, value, time, step in points]
        for first in range(0, len(metrics), LARGEST_BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + LARGEST_BATCH])


def git_tags(root: Path) -> dict[str, str]:
    """The commit checked out in `root`, and whether tracked files differ from it; empty without a repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != root.resolve():
            return {}  # unpacked inside another project's repository
        # DVC itself rewrites dvc.lock after each stage.
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
        return {"git.commit": git("rev-parse", "HEAD"), "git.dirty": str(bool(changed)).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}


def final_values(record: Record) -> Iterator[tuple[str, float]]:
    """`final/...`: losses and accuracies at the end, and every number among the evaluations' `values`.

    A table of runs shows the last value of a metric only, so each of these is logged once. Of a run that diverged
    the former are left out: what its last whole generation reached is no result, and a table would rank it as one.
    """
    final = {} if record.summary["diverged"] else record.summary["final"] or {}
    groups = {"final": {name: value for name, value in final.items() if name.endswith(("loss", "accuracy"))}}
    groups["final/best"] = final.get("best") or {}
    groups |= {f"final/{name}": values for name, values in record.evaluations.items()}
    for group, values in groups.items():
        yield from ((f"{group}/{name}", number) for name, number in numbers(values))


def numbers(tree: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The finite numbers of nested dicts, under path names that MLflow accepts; lists are left to the files."""
    for key, value in tree.items():
        name = re.sub(r"[^\w\-. :]", "_", str(key))
        if isinstance(value, Mapping):
            yield from ((f"{name}/{inner}", number) for inner, number in numbers(value))
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, value
