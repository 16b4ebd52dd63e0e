"""A run for each arm in the MLflow view: its seeds' means and deviations, the verdicts and the report's figures.

The key figure is among them. The experiment's description is what the report found.
"""

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from seal.evidence import read_checked_json
from seal.record import RESULTS
from seal.runs import Evaluations, RunFolder, Runs
from seal.study.numbers import difference
from seal.tracking.database import errors_of
from seal.tracking.finished import FinishedRun, final_values
from seal.tracking.mlflow_view import View, Written
from seal.tracking.sync import SyncOutcome

CLAIMS, REPORT = Path("claims/claims.json"), Path("report")
FINDINGS = REPORT / "findings.md"  # the primary claims in words, and the matrix


def sync_aggregates(asked: Mapping[str, Evaluations]) -> list[SyncOutcome]:
    """Make the view's run of each arm equal to the arm's record; a second call changes nothing."""
    runs = Runs.read([RESULTS], asked)
    if not len(runs):
        return []

    view, judged, texts = View(Path.cwd()), judged_tier(), shown_files()
    if FINDINGS.is_file() and judged in {run.summary["tier"] for run in runs}:
        with errors_of(str(FINDINGS)):
            view.describe(FINDINGS.read_text(encoding="utf-8"))

    outcomes = []
    for arm in runs.arms:
        seeds = runs.of(arm)
        if reason := trained_otherwise(seeds):
            outcomes.append(SyncOutcome(arm, "no mean", reason))
            continue

        its_texts = texts if seeds[0].summary["tier"] == judged else {}
        outcomes.append(SyncOutcome(arm, _sync_arm(view, arm, list(map(FinishedRun.of, seeds)), its_texts)))
    return outcomes


def trained_otherwise(runs: Sequence[RunFolder]) -> str:
    """By which number an arm's runs are not seeds of one training, as after another tier of which some have run yet."""
    first, *others = runs
    for run in others:
        if differs := difference(run.summary, first.summary, "data_sha256"):
            values = f"{differs.wanted} in {first.folder.name}, {differs.recorded} in {run.folder.name}"
            return f"{differs.key} is {values}; `make repro` trains what is out of date"
    return ""


def judged_tier() -> str | None:
    """Of which tier the verdicts and the report are that lie here."""
    document = read_checked_json(CLAIMS) if CLAIMS.is_file() else None
    return document.get("tier") if isinstance(document, dict) else None


def shown_files() -> dict[str, str]:
    """The texts of verdicts, report and figures, by their path; those that are there."""
    paths = [CLAIMS, REPORT / "report.md", REPORT / "report.html", *sorted(REPORT.glob("figures/*.svg"))]
    return {path.as_posix(): path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def _sync_arm(view: View, arm: str, runs: Sequence[FinishedRun], texts: Mapping[str, str]) -> Written:
    seeds = [str(run.summary["seed"]) for run in runs]
    facts = runs[0].summary | {"run": arm, "seed": f"mean of {', '.join(seeds)}"}
    diverged = sum(run.summary["diverged"] is not None for run in runs)
    words = f"{diverged} of {len(runs)} seeds" if diverged else ""
    return view.write(facts, over_seeds(runs), texts, _digest(runs, texts), words)


def _digest(runs: Sequence[FinishedRun], texts: Mapping[str, str]) -> str:
    parts = [run.digest for run in runs]
    for name, text in texts.items():
        parts.append(f"{name}:{text}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def over_seeds(runs: Sequence[FinishedRun]) -> dict[str, float]:
    """`final/...`: the mean of what every seed has; `deviation/...` beside it, where there are several seeds."""
    values_of_seeds = [dict(final_values(run)) for run in runs]
    shared = set(values_of_seeds[0]).intersection(*values_of_seeds)

    aggregates = {}
    for name in values_of_seeds[0]:
        if name in shared:
            numbers = [values[name] for values in values_of_seeds]
            aggregates[name] = statistics.fmean(numbers)
            if len(numbers) > 1:
                aggregates[name.replace("final/", "deviation/", 1)] = statistics.stdev(numbers)
    return aggregates
