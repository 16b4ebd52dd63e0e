"""A verdict for every claim of the paper, from the record alone: the stage `python -m eval.claims`.

With --record it reads committed folders of the layout of results/, without weights, instead of results/ itself.
Without --out it only shows them, or with --show one in full: the pipeline's claims/claims.json is the stage's alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from eval.claims.claim_list import load_claims
from eval.claims.output import Stages, as_json, print_table
from eval.claims.rule import Verdict
from eval.claims.show import shown
from eval.claims.verdicts import evaluate_claims
from seal.config import Params, load_params
from seal.errors import UserError, one_line_errors
from seal.record import RESULTS, write_json
from seal.runs import Runs, are_folders
from seal.stage import stage
from seal.stage_names import asked_stages, kept_stages

WIDTH = 150  # of the table where no terminal says how wide it is


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.claims")
    parser.add_argument("--record", type=Path, nargs="+", metavar="DIR", help="folders of runs, instead of results/")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the verdicts as JSON")
    parser.add_argument("--show", metavar="ID", help="this claim alone, with all that its verdict rests on")
    parser.add_argument("--strict", action="store_true", help="fail where a claim is REFUTED")
    chosen = parser.parse_args(arguments)

    with stage("claims", timed=bool(chosen.out) and not chosen.record):
        runs, stages = recorded_runs(chosen.record) if chosen.record else own_runs(load_params())
        claims = load_claims()
        verdicts = evaluate_claims(runs, claims)
        document = as_json(runs, claims, verdicts, stages) if chosen.out or chosen.show else {}
        if chosen.out:
            write_json(chosen.out, document)
        if chosen.show:
            print(shown(document, chosen.show))
        elif not chosen.out:
            console = Console(highlight=False)
            print_table(verdicts, console if console.is_terminal else Console(highlight=False, width=WIDTH))

        counts = f"{len(verdicts)} verdicts, and {len(claims.untestable)} claims that cannot be tested"
        print(f"{chosen.out}: {counts}" if chosen.out else counts)
        for reason in runs.broken.values():
            print(f"BROKEN, and no evidence: {reason}")

    refuted = [verdict.claim.id for verdict in verdicts if verdict.verdict == Verdict.REFUTED]
    if chosen.strict and refuted:
        with one_line_errors():
            raise UserError(f"REFUTED: {', '.join(refuted)}")


def recorded_runs(folders: Sequence[Path]) -> tuple[Runs, Stages]:
    """Every run in these folders, and by which stages `seal study` had each made."""
    are_folders(folders)
    runs = _some(Runs.read(folders), folders)
    return runs, {run.name: kept_stages(run.folder) for run in runs}


def own_runs(params: Params) -> tuple[Runs, Stages]:
    """What results/ holds of the runs and evaluations that the active parameters ask for, and their stages.

    What an earlier tier left is not looked at.
    """
    asked = asked_stages(params)
    return _some(Runs.read([RESULTS], asked), [RESULTS]), asked


def _some(runs: Runs, folders: Sequence[Path]) -> Runs:
    """The same runs. Raises UserError for none."""
    if not len(runs):
        places = ", ".join(map(str, folders))
        broken = "".join(f"; BROKEN: {reason}" for reason in runs.broken.values())
        expected = "expected some, as in expected/mini"
        raise UserError(f"{places}: found no run's folder with a sound record, {expected}{broken}")
    return runs


if __name__ == "__main__":
    main()
