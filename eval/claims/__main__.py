"""A verdict for every claim of the paper, from the record alone: the stage `python -m eval.claims`.

With --record it reads committed folders of the layout of results/, without weights, instead of results/ itself.
Without --out it only shows them: the pipeline's claims/claims.json is the stage's alone.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from eval.claims.claim_list import load_claims
from eval.claims.output import as_json, print_table
from eval.claims.rule import Verdict
from eval.claims.verdicts import evaluate_claims
from seal.config import Params, load_params
from seal.errors import UserError, one_line_errors
from seal.evaluations import EVALUATIONS
from seal.record import RESULTS, append_timing, write_json
from seal.runs import Runs, are_folders


def own_runs(params: Params) -> Runs:
    """What results/ holds of the active parameters' runs and targets; what an earlier tier left is not looked at."""
    targeted = [name for name, evaluation in EVALUATIONS.items() if evaluation.targeted]
    targets = {name: getattr(params, name).targets for name in targeted}
    return Runs.read([RESULTS], params.run_names(), targets)


def stages_by_arm(params: Params) -> dict[str, str]:
    """Which of the stages train, train_extra and train_sensitivity trains an arm."""
    extra = dict.fromkeys(params.extra_arms, "train_extra")
    return (
        dict.fromkeys(params.sensitivity_arms, "train_sensitivity") | extra | dict.fromkeys(params.main_arms, "train")
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m eval.claims")
    parser.add_argument("--record", type=Path, nargs="+", metavar="DIR", help="folders of runs, instead of results/")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the verdicts as JSON")
    parser.add_argument("--strict", action="store_true", help="fail where a claim is REFUTED")
    chosen = parser.parse_args(arguments)
    began = time.perf_counter()
    with one_line_errors():
        if chosen.record:
            are_folders(chosen.record)
            runs, stages = Runs.read(chosen.record), {}
        else:
            params = load_params()
            runs, stages = own_runs(params), stages_by_arm(params)
        if not len(runs):
            places = ", ".join(map(str, chosen.record or [RESULTS]))
            raise UserError(f"{places}: found no run's folder with a summary.json, expected some, as in expected/mini")

        claims = load_claims()
        verdicts = evaluate_claims(runs, claims)
        if chosen.out:
            write_json(chosen.out, as_json(runs, claims, verdicts, stages))

        console = Console(highlight=False)
        print_table(verdicts, console if console.is_terminal else Console(highlight=False, width=150))
        counted = f"{len(verdicts)} verdicts, and {len(claims.untestable)} claims that cannot be tested"
        print(f"{chosen.out}: {counted}" if chosen.out else counted)
        if chosen.out and not chosen.record:
            append_timing("claims", time.perf_counter() - began)

        refuted = [verdict.claim.id for verdict in verdicts if verdict.verdict == Verdict.REFUTED]
        if chosen.strict and refuted:
            raise UserError(f"REFUTED: {', '.join(refuted)}")


if __name__ == "__main__":
    main()
