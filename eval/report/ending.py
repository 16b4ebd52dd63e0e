"""What `make repro` and `seal report` end with, `python -m eval.report.ending`: the first screen, in the terminal.

It writes the page of times too: beside a report of other folders, in timings/ of one's own runs.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from eval.report.times import write_times
from seal.errors import UserError, one_line_errors
from seal.record import TIMINGS

FINDINGS, PAGE = "findings.md", "report.html"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.report.ending")
    parser.add_argument("--report", type=Path, default=Path("report"), metavar="DIR", help="a folder with a report")
    parser.add_argument("--record", type=Path, nargs="+", metavar="DIR", help="the folders of runs that it is of")
    chosen = parser.parse_args(arguments)

    with one_line_errors():
        if chosen.record:
            timings = [folder / TIMINGS.name for folder in chosen.record]
            end(chosen.report, chosen.report, timings)
        else:
            end(chosen.report, TIMINGS, [TIMINGS])


def end(report: Path, times: Path, timings: Sequence[Path]) -> None:
    """Raises UserError where there is no report."""
    findings = report / FINDINGS
    if not findings.exists():
        raise UserError(f"{findings}: not found; `dvc repro report` writes it")

    page_of_times = write_times(times, timings)
    print(findings.read_text(encoding="utf-8"))
    print(f"all of it: {report / PAGE}; times: {page_of_times or 'none are recorded'}")


if __name__ == "__main__":
    main()
