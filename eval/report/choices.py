"""The report's section on open choices: where paper and authors' code differ, and what changed parameters did."""

import functools
import operator
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eval.report.document import Section, Table
from eval.report.figures import label
from eval.report.tables import NOTHING, Record, RunRecord, percent, with_diverged
from seal.config import BASE_ARM, Params
from seal.tiers import tier_params


def choices(record: Record, params: Params, shown_elsewhere: Sequence[str]) -> Section:
    """The paper's choices beside the code's and this run's; then the arms with changed parameters, if there are any."""
    paper, ours = (each.model_dump(mode="json") for each in (tier_params("paper"), params))
    code = yaml.safe_load(Path("params/author_code.yaml").read_text(encoding="utf-8"))
    rows = [
        [".".join(place), *(str(functools.reduce(operator.getitem, place, whole)) for whole in (paper, code, ours))]
        for place in places(code)
    ]
    columns = ["parameter", "paper.yaml", "author_code.yaml", "this run"]
    parts = [Table("Where the paper's and the authors' choices differ", columns, rows)]
    changed = [arm for arm in record.arms if arm not in (BASE_ARM, *params.main_arms, *shown_elsewhere)]
    return Section("Open choices", parts=[*parts, sensitivity(record, params, changed)] if changed else parts)


def places(tree: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each value of nested dicts."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from ((key, *inner) for inner in places(value))
        else:
            yield (key,)


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
        changes = ", ".join(f"{key} = {value}" for key, value in params.changes(arm).items())
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
