"""The report: one HTML file and the same as Markdown, from the record. The stage `python -m eval.report`.

With --record it reads committed folders of runs instead of results/, those of one tier together. What it says is
eval/report/page.py's.
"""

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from eval.claims.document import read_verdicts
from eval.report.judged import Judged, areas
from eval.report.page import NONE, write_report
from eval.report.renewal import drawn_beside
from eval.report.settings import Study, by_tier, own_study, recorded_study
from seal.errors import UserError
from seal.own_records import own_networks
from seal.record import RESULTS
from seal.stage import stage

REPORT, CLAIMS = Path("report"), Path("claims/claims.json")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.report")
    parser.add_argument("--record", type=Path, nargs="+", metavar="DIR", help="folders of runs, instead of results/")
    parser.add_argument(
        "--claims", type=Path, nargs="+", default=[CLAIMS], metavar="FILE", help="the verdicts, a file a tier"
    )
    parser.add_argument(
        "--own", type=Path, metavar="DIR", help="networks that `seal evaluate` looked at, a chapter of them"
    )
    parser.add_argument(
        "--beside",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of runs for the sweep's figure alone; of a committed study those of its sweep, unless said",
    )
    parser.add_argument("--out", type=Path, default=REPORT, metavar="DIR")
    chosen = parser.parse_args(arguments)

    with stage("report", timed=not chosen.record):
        studies = [*map(recorded_study, by_tier(chosen.record).values())] if chosen.record else [own_study()]
        folders = chosen.beside or [*chain.from_iterable(map(drawn_beside, chosen.record or []))]
        beside = [recorded_study([folder]) for folder in folders]
        print(f"report: {report(studies, chosen.claims, chosen.out, chosen.own, beside)}")


def report(
    studies: Sequence[Study], claims: Sequence[Path], out: Path, own: Path | None = None, beside: Sequence[Study] = ()
) -> Path:
    """Write the report of these studies. Raises UserError where one has no runs, or no verdicts among `claims`."""
    for study in studies:
        if not len(study.runs):
            raise UserError(f"{RESULTS}: no run of the {study.params.tier} tier's parameters; `make repro` trains them")

    documents = {}
    for path in claims:
        document = read_verdicts(path)
        if lacking := areas().keys() - {claim["area"] for claim in document["claims"]}:
            raise UserError(f"{path}: found no claim of {min(lacking)}, expected some; `seal claims` judges anew")
        documents[document["tier"]] = document

    records = []
    for study in studies:
        if study.params.tier not in documents:
            names = ", ".join(map(str, claims))
            raise UserError(f"{names}: no verdicts on {study.params.tier}; `seal report --record` judges what it reads")
        records.append(Judged(study, documents[study.params.tier]))
    return write_report(out, records, own_networks(own) if own else NONE, beside)


if __name__ == "__main__":
    main()
