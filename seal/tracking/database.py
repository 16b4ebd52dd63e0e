"""MLflow's database in a project's folder, its one experiment, and the pages' table of runs; `seal doctor` asks it too.

The database is a view of the record and can be deleted at any time.
"""

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from seal.errors import UserError, first_line, short

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "seal"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
PATIENCE = 5.0  # s, with another process that holds the database
LONGEST_MIGRATION = 120.0  # s, of a process that makes it anew; on a busy machine it takes 25
REMEDY = "it is only a view: close what uses it, or delete it, then `seal sync`"

# What MLflow's menu "Views" shows as "Results": the runs by test accuracy, highest first, in the columns that matter.
RESULTS_VIEW = "mlflow.sharedViewState.results"
RESULTS_COLUMNS = {  # and their widths in pixels
    "tags.`tier`": 70,
    "tags.`arm`": 120,
    "tags.`seed`": 60,
    "metrics.`final/test_accuracy`": 160,
    "metrics.`final/val_accuracy`": 140,
    "metrics.`final/train_accuracy`": 140,
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


def database(root: Path) -> Path:
    return root / "mlflow.db"


def address(root: Path) -> str:
    """Explicit and absolute: MLflow's default depends on the working directory and on the environment."""
    return f"sqlite:///{database(root.resolve())}"


def artifacts(root: Path) -> Path:
    return root / "mlartifacts"


def artifacts_of(root: Path, run_id: str) -> Path:
    """The folder in which MLflow's pages look for a run's files."""
    return artifacts(root) / EXPERIMENT / run_id


def database_problem(root: Path) -> str | None:
    """Why MLflow could not write to its database, or None. MLflow itself would retry a hopeless file for minutes."""
    path = database(root)
    if artifacts(root).exists() and not artifacts(root).is_dir():
        return f"{artifacts(root).name}: found a file, expected a folder"
    if not path.exists():
        return None if os.access(root, os.W_OK) else f"{path.name}: its folder is not writable"

    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.Error as error:
        return f"{path.name}: {error}"
    return None


def open_database(root: Path) -> "tuple[MlflowClient, str]":
    """MLflow's client, and the identifier of the experiment; both are made where there are none.

    Raises UserError where the database cannot be used.
    """
    if problem := database_problem(root):
        raise UserError(f"{problem}; {REMEDY}")

    os.environ.update(QUIET)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    # Else Ctrl-C in a query prints where SQLAlchemy closed its cursor; what it cannot do it raises.
    logging.getLogger("sqlalchemy").setLevel(logging.CRITICAL)

    # Two processes that create the database at once, each by MLflow's migrations, break each other's.
    try:
        with FileLock(f"{database(root)}.lock", timeout=LONGEST_MIGRATION):
            client = MlflowClient(tracking_uri=address(root), registry_uri=address(root))
            return client, _experiment(client)
    except Timeout:
        waited = f"another process has held {database(root).name}.lock for {LONGEST_MIGRATION:.0f} s"
        raise UserError(f"{waited}; {REMEDY}") from None
    except OSError:
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's and Alembic's: of a newer schema, of another program's tables
        raise UserError(f"{database(root).name}: {short(first_line(error))}; {REMEDY}") from error


@contextmanager
def errors_of(shown: str) -> Iterator[None]:
    """An error of MLflow's about what is shown, as a value that it does not take, is a UserError that names it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise UserError(f"{shown} in mlflow.db: {short(first_line(error))}; {REMEDY}") from error


def _experiment(client: "MlflowClient") -> str:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        # The server resolves this scheme; a plain path would be stored absolute, and a move would break it.
        place = f"mlflow-artifacts:/{EXPERIMENT}"
        experiment = client.get_experiment(client.create_experiment(EXPERIMENT, artifact_location=place))
    elif experiment.lifecycle_stage != "active":  # a deleted experiment's name stays taken
        client.restore_experiment(experiment.experiment_id)

    results = json.dumps({"name": "Results", "createdAt": 0, "updatedAt": 0, "state": json.dumps(RESULTS_STATE)})
    if experiment.tags.get(RESULTS_VIEW) != results:
        client.set_experiment_tag(experiment.experiment_id, RESULTS_VIEW, results)
    return str(experiment.experiment_id)


def results_page(experiment_id: str, host: str, port: int) -> str:
    """The address of the runs' table, once a server runs there."""
    query = f"workflowType=machine_learning&viewStateShareKey={RESULTS_VIEW.rpartition('.')[2]}"
    return f"http://{host}:{port}/#/experiments/{experiment_id}/runs?{query}"
