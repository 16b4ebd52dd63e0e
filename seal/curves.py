"""What `dvc plots show` draws, of every run in one file: histories, and accuracy by generation, as the report does.

The stage `python -m seal.curves`.
"""

from collections.abc import Sequence
from pathlib import Path

from seal.config import load_params
from seal.errors import UserError
from seal.evidence import entry, read_summary
from seal.record import HISTORY_COLUMNS, RESULTS, Row, read_history, write_csv
from seal.stage import stage

CURVES, ACCURACY = Path("curves/history.csv"), Path("curves/accuracy.csv")
ACCURACY_COLUMNS = ("arm", "seed", "generation", "test_accuracy")


def gather(run_names: Sequence[str]) -> list[Row]:
    """The histories of these runs, a row an epoch. Raises UserError where a run has none."""
    rows = []
    for run in run_names:
        path = RESULTS / run / "history.csv"
        if not path.exists():
            raise UserError(f"{path}: not found, expected the record of run {run}; `dvc repro` trains it")
        rows += [{"run": run} | row for row in read_history(path)]
    return rows


def ends(run_names: Sequence[str]) -> list[Row]:
    """A row for each generation of these runs: test accuracy at its end."""
    rows = []
    for run in run_names:
        path = RESULTS / run / "summary.json"
        summary = read_summary(path)
        for outcome in summary["outcomes"]:
            row = {"arm": summary["arm"], "seed": summary["seed"]} | outcome
            rows.append({column: entry(row, column, path) for column in ACCURACY_COLUMNS})
    return rows


def main() -> None:
    with stage("curves"):
        names = load_params().run_names()  # a list that comes from params.yaml, never from the folder
        write_csv(CURVES, ("run", *HISTORY_COLUMNS), gather(names))
        write_csv(ACCURACY, ACCURACY_COLUMNS, ends(names))


if __name__ == "__main__":
    main()
