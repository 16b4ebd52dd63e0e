"""The report: one HTML file and the same as Markdown, from the record. The stage `python -m eval.report`.

With --record it reads committed folders of runs instead of results/. What it says is eval/report/page.py's.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from eval.report.page import write_report, write_times
from eval.report.settings import own_study, recorded_study
from seal.errors import UserError, one_line_errors
from seal.evidence import read_checked_json
from seal.record import RESULTS, TIMINGS
from seal.stage import stage

REPORT = Path("report")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.report")
    parser.add_argument("--record", type=Path, nargs="+", metavar="DIR", help="folders of runs, instead of results/")
    parser.add_argument("--claims", type=Path, default=Path("claims/claims.json"), metavar="FILE")
    parser.add_argument("--out", type=Path, default=REPORT, metavar="DIR")
    chosen = parser.parse_args(arguments)

    with stage("report", timed=not chosen.record):
        page = report(chosen.record, chosen.claims, chosen.out)
        print(f"report: {page}")
    if not chosen.record:  # after the stage's own row of timings, and in no output of it
        with one_line_errors():
            print(f"times: {write_times(TIMINGS)}")


def report(record: Sequence[Path] | None, claims: Path, out: Path) -> Path:
    """Write the report of the own runs, or of these folders. Raises UserError without runs or verdicts."""
    study = recorded_study(record) if record else own_study()
    folders = record or [RESULTS]
    if not len(study.runs):
        places = ", ".join(map(str, folders))
        raise UserError(f"{places}: no run of the {study.params.tier} tier's parameters; `make repro` trains them")
    if not claims.exists():
        raise UserError(f"{claims}: no such file; `dvc repro claims` writes it")

    return write_report(out, study, read_checked_json(claims), _timings(record or []))


def _timings(folders: Sequence[Path]) -> Path | None:
    """A record's own timings."""
    return next((folder / "timings" for folder in folders if (folder / "timings").is_dir()), None)


if __name__ == "__main__":
    main()
