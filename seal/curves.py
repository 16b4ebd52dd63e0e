"""Every run's history in one file with a column `run`, which `dvc plots show` draws: `python -m seal.curves`."""

from collections.abc import Sequence
from pathlib import Path

from seal.config import load_params
from seal.errors import UserError
from seal.record import HISTORY_COLUMNS, RESULTS, Row, read_history, write_csv
from seal.stage import stage

CURVES = Path("curves/history.csv")


def gather(run_names: Sequence[str]) -> list[Row]:
    """The histories of these runs, a row an epoch. Raises UserError where a run has none."""
    rows = []
    for run in run_names:
        path = RESULTS / run / "history.csv"
        if not path.exists():
            raise UserError(f"{path}: not found, expected the record of run {run}; `dvc repro` trains it")
        rows += [{"run": run} | row for row in read_history(path)]
    return rows


def main() -> None:
    with stage("curves"):
        rows = gather(load_params().run_names())  # a list that comes from params.yaml, never from the folder
        write_csv(CURVES, ("run", *HISTORY_COLUMNS), rows)


if __name__ == "__main__":
    main()
