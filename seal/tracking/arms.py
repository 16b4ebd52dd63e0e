"""A run for each arm in the MLflow view: its seeds' means and deviations, the verdicts and the report's figures."""

import hashlib
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from seal.record import RESULTS
from seal.tracking.mlflow_view import DIGEST, Record, View, final_values, is_recorded, read_record, run_key
from seal.tracking.sync import SyncOutcome

CLAIMS, REPORT = Path("claims/claims.json"), Path("report")


def shown_files() -> dict[str, str]:
    """The texts of verdicts, report and figures, by their path; those that are there."""
    paths = [CLAIMS, *(REPORT / name for name in ("report.md", "report.html")), *sorted(REPORT.glob("figures/*.svg"))]
    return {path.as_posix(): path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def over_seeds(records: Sequence[Record]) -> dict[str, float]:
    """`final/...`: the mean of what every seed has; `deviation/...` beside it, where there are several seeds."""
    every = [dict(final_values(record)) for record in records]
    found: dict[str, float] = {}
    for name in every[0]:
        values = [each[name] for each in every if name in each]
        if len(values) == len(every):
            found[name] = statistics.fmean(values)
            if len(values) > 1:
                found[name.replace("final/", "deviation/", 1)] = statistics.stdev(values)
    return found


def sync_aggregates(run_names: Sequence[str], results: Path = RESULTS) -> list[SyncOutcome]:
    """Make the view's run of each arm equal to the arm's record; a second call changes nothing."""
    arms: dict[str, list[Record]] = {}
    for name in run_names:
        if is_recorded(results / name):
            arms.setdefault(name.rpartition("-")[0], []).append(read_record(results / name))
    if not arms:
        return []
    view, files = View(Path.cwd()), shown_files()
    return [SyncOutcome(arm, _sync_arm(view, arm, records, files)) for arm, records in arms.items()]


def _sync_arm(
    view: View, arm: str, records: Sequence[Record], files: Mapping[str, str]
) -> Literal["written", "unchanged"]:
    summaries = [record.summary for record in records]
    seeds = ", ".join(str(summary["seed"]) for summary in summaries)
    facts = summaries[0] | {"run": arm, "seed": f"mean of {seeds}"}
    texts = [record.digest for record in records] + [f"{name}:{text}" for name, text in files.items()]
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    if any(run.data.tags.get(DIGEST) == digest for run in view.find(run_key(facts))):
        return "unchanged"
    now = time.time_ns() // 1_000_000
    run_id = view.begin(facts, None, now)
    if diverged := sum(summary["diverged"] is not None for summary in summaries):
        view.client.set_tag(run_id, "diverged", f"{diverged} of {len(records)} seeds")
    view.log_final(run_id, over_seeds(records).items(), now)
    view.close(run_id, files, digest, now)
    return "written"
