"""What a run looks like in MLflow. live.py, sync.py and arms.py say when it is written; the record is the truth.

Runs are found by the tag `seal.run_key`, since MLflow's own identifiers differ from machine to machine. A run whose tag
`seal.digest` equals the record's hash is complete and up to date: that tag is always written last.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING, Any, Literal

from seal.record import METRIC_COLUMNS, Row
from seal.tracking.database import artifacts_of, errors_of, open_database
from seal.tracking.finished import FinishedRun, final_values

if TYPE_CHECKING:
    from mlflow.entities import Param
    from mlflow.entities import Run as MlflowRun

KEY, DIGEST = "seal.run_key", "seal.digest"
DESCRIPTION = "mlflow.note.content"
SECTIONS = ("model", "training", "generations", "options")  # of the facts, shown as parameters
LARGEST_BATCH = 1000  # metrics that MLflow takes in one call

Written = Literal["written", "unchanged"]
Facts = Mapping[str, Any]  # what summary.json says of a run beside its results
Point = tuple[str, float, int, int]  # a metric's name and value, at a time in ms and a step


def run_key(facts: Facts) -> str:
    return f"{facts['tier']}/{facts['run']}"


class View:
    """The view of the project in folder `root`. Raises UserError where its database cannot be used."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.client, self.experiment_id = open_database(root)

    def find(self, key: str) -> "list[MlflowRun]":
        return list(self.client.search_runs([self.experiment_id], filter_string=f"tags.`{KEY}` = '{key}'"))

    def shows(self, key: str, digest: str) -> bool:
        """Whether a run with this key is complete and up to date; any beside it is removed."""
        runs = self.find(key)
        for run in runs:
            if run.data.tags.get(DIGEST) == digest:
                others = [other for other in runs if other is not run]
                self.remove(others)
                return True
        return False

    def remove(self, runs: "Iterable[MlflowRun]") -> None:
        for run in runs:
            self.client.delete_run(run.info.run_id)
            shutil.rmtree(artifacts_of(self.root, run.info.run_id), ignore_errors=True)

    def describe(self, text: str) -> None:
        """The experiment's description, in Markdown, at the head of its page."""
        experiment = self.client.get_experiment(self.experiment_id)
        if experiment.tags.get(DESCRIPTION) != text:
            self.client.set_experiment_tag(self.experiment_id, DESCRIPTION, text)

    def begin(self, facts: Facts, stage: str | None, start: int) -> str:
        """A new run in place of every earlier one with its key; `start` in ms. Returns MLflow's identifier."""
        self.remove(self.find(run_key(facts)))
        tags = tags_of(facts, stage) | git_tags(self.root)
        run = self.client.create_run(self.experiment_id, start_time=start, tags=tags, run_name=facts["run"])
        self.client.log_batch(run.info.run_id, params=params_of(facts))
        return str(run.info.run_id)

    def log_rows(self, run_id: str, rows: Sequence[Row], times: Sequence[int]) -> None:
        """The epochs' metrics at `times` in ms; the step is the global epoch. What was not measured is left out."""
        points = []
        for row, time in zip(rows, times, strict=True):
            for name in ("generation", "epoch", *METRIC_COLUMNS):
                if row.get(name) is not None:
                    points.append((name, row[name], time, row["global_epoch"]))
        self._log(run_id, points)

    def log_final(self, run_id: str, values: Iterable[tuple[str, float]], time: int) -> None:
        """Metrics with one value. MLflow draws bars, not a line, for a metric that has step 0 alone."""
        points = [(name, value, time, 0) for name, value in values]
        self._log(run_id, points)

    def finish(self, run_id: str, run: FinishedRun, end: int) -> None:
        """What is known once a run is over, at `end` in ms; the digest last of all."""
        points = []
        for outcome in run.summary["outcomes"]:
            for name in ("test_loss", "test_accuracy"):
                points.append((name, outcome[name], end, outcome["global_epoch"]))
        self._log(run_id, points)
        self.log_final(run_id, final_values(run), end)

        if run.summary["diverged"]:
            self.client.set_tag(run_id, "diverged", json.dumps(run.summary["diverged"]))
        self.close(run_id, run.texts, run.digest, end)

    def write(
        self, facts: Facts, values: Mapping[str, float], texts: Mapping[str, str], digest: str, diverged: str = ""
    ) -> Written:
        """Values that no epochs lead to, as an arm's over its seeds, and files; unless they are there already."""
        with errors_of(facts["run"]):
            if self.shows(run_key(facts), digest):
                return "unchanged"

            now = time_ns() // 1_000_000
            run_id = self.begin(facts, None, now)
            if diverged:
                self.client.set_tag(run_id, "diverged", diverged)
            self.log_final(run_id, values.items(), now)
            self.close(run_id, texts, digest, now)
        return "written"

    def close(self, run_id: str, texts: Mapping[str, str], digest: str, end: int) -> None:
        """The `texts` of files, by their path among the run's artifacts, and the marks of a run that is complete."""
        for name, text in texts.items():
            path = artifacts_of(self.root, run_id) / "artifacts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")

        self.client.set_terminated(run_id, "FINISHED", end)
        self.client.set_tag(run_id, DIGEST, digest)

    def _log(self, run_id: str, points: Sequence[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, float(value), time, step) for name, value, time, step in points]
        for first in range(0, len(metrics), LARGEST_BATCH):
            self.client.log_batch(run_id, metrics=metrics[first : first + LARGEST_BATCH])


def tags_of(facts: Facts, stage: str | None) -> dict[str, str]:
    """`stage`: of DVC's, where one trains the run."""
    tags = {KEY: run_key(facts), "data.sha256": str(facts["data_sha256"])}
    for name in ("tier", "arm", "method", "seed"):
        tags[name] = str(facts[name])
    return tags | {"dvc.stage": stage} if stage else tags


def params_of(facts: Facts) -> "list[Param]":
    from mlflow.entities import Param

    params = [Param("data", str(facts["data"]))]
    for section in SECTIONS:
        for name, value in facts.get(section, {}).items():
            params.append(Param(f"{section}.{name}", str(value)))
    return params


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
