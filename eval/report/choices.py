"""The report's section on open choices: where paper and authors' code differ, and what changed parameters did."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import yaml

from eval.report.document import Section, Table
from eval.report.figures import label
from eval.report.tables import NOTHING, Record, RunRecord, percent, with_diverged
from seal.config import BASE_ARM, Params


def choices(record: Record, params: Params, shown_elsewhere: Sequence[str]) -> Section:
    """The paper's choices beside the code's and this run's; then the arms with changed parameters, if there are any."""
    paper = yaml.safe_load(Path("params/paper.yaml").read_text(encoding="utf-8"))
    code = yaml.safe_load(Path("params/author_code.yaml").read_text(encoding="utf-8"))
    ours = params.model_dump(mode="json")
    rows = [
        [f"{section}.{key}", str(paper[section][key]), str(value), str(ours[section][key])]
        for section, values in code.items() for key, value in values.items()
    ]  # fmt: skip
    columns = ["parameter", "paper.yaml", "author_code.yaml", "this run"]
    parts = [Table("Where the paper's and the authors' choices differ", columns, rows)]
    changed = [arm for arm in record.arms if arm not in (BASE_ARM, *params.main_arms, *shown_elsewhere)]
    return Section("Open choices", parts=[*parts, sensitivity(record, params, changed)] if changed else parts)


def sensitivity(record: Record, params: Params, arms: Sequence[str]) -> Table:
    """What a changed parameter does to an arm's last test accuracy, beside its method's own arm at the same seeds."""
    rows = []
    for arm in arms:
        method = params.arms[arm].method
        same = {run.seed: run for run in record.arms.get(method, ())}
        pairs = [(last_accuracy(run), last_accuracy(same[run.seed])) for run in record.arms[arm] if run.seed in same]
        known = [(mine, other) for mine, other in pairs if mine is not None and other is not None]
        difference = f"{100 * statistics.fmean(mine - other for mine, other in known):+.2f}" if known else NOTHING
        accuracies = [value for run in record.arms[arm] if (value := last_accuracy(run)) is not None]
        diverged = [run.summary["diverged"] for run in record.arms[arm] if run.summary["diverged"]]
        ends = with_diverged(percent(accuracies), len(diverged))
        changes = ", ".join(f"{key} = {value}" for key, value in params.arms[arm].changes.items())
        rows.append([label(arm), changes, ends, difference, ", ".join(str(run.seed) for run in record.arms[arm])])
    title = "Sensitivity: one parameter changed; test accuracy at the end, %"
    note = (
        "The difference is to the method's arm without the change, at the same seeds, in points. With one seed it "
        "cannot tell an effect from noise."
    )
    return Table(title, ["arm", "changed", "accuracy", "difference", "seeds"], rows, note)


def last_accuracy(run: RunRecord) -> float | None:
    """Test accuracy at the run's end; None where it diverged before."""
    final = run.summary["final"]
    return None if run.summary["diverged"] or not final else float(final["test_accuracy"])
