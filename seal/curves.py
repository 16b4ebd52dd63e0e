"""Every run's history in one file with a column `run`, which `dvc plots show` draws: `python -m seal.curves`."""

import time
from pathlib import Path

from seal.config import load_params
from seal.errors import UserError, one_line_errors
from seal.record import HISTORY_COLUMNS, RESULTS, append_timing, read_history, write_csv

CURVES = Path("curves/history.csv")


def main() -> None:
    """Gather the histories of the active parameters' runs; the list comes from params.yaml, never from the folder."""
    began = time.perf_counter()

    rows = []
    for run in load_params().run_names():
        path = RESULTS / run / "history.csv"
        if not path.exists():
            raise UserError(f"{path}: not found, expected the record of run {run}; `dvc repro` trains it")
        rows += [{"run": run} | row for row in read_history(path)]

    write_csv(CURVES, ("run", *HISTORY_COLUMNS), rows)
    append_timing("curves", time.perf_counter() - began)


if __name__ == "__main__":
    with one_line_errors():
        main()
