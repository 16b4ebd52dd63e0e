"""Open choices: where paper and authors' code differ, and what changed parameters did to an arm."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.report.accuracy import end_of_training
from eval.report.cells import NOTHING, percent, with_diverged
from eval.report.document import Table
from eval.report.drawing import label
from eval.report.settings import Study
from seal.errors import ConfigError
from seal.runs import RunFolder, Runs
from seal.yaml_files import read_yaml

PAPER, CODE = Path("params/paper.yaml"), Path("params/author_code.yaml")


def open_choices(study: Study) -> Table:
    """A row for each value of the authors' code that the paper does not give, or gives otherwise."""
    paper = dict(_values(_read(PAPER)))
    rows = []
    for place, value in _values(_read(CODE)):
        rows.append([".".join(place), str(paper[place]), str(value), str(study.value(*place))])

    columns = ["parameter", "paper.yaml", "author_code.yaml", "this run"]
    return Table("Where the paper's and the authors' choices differ", columns, rows)


def sensitivity(study: Study, shown_elsewhere: Sequence[str]) -> Table:
    """What a changed parameter does to an arm's last test accuracy, beside its method's own arm at the same seeds."""
    rows = []
    for arm in study.runs.arms:
        changes = {} if arm in (*study.main_arms, *shown_elsewhere) else study.params.changes(arm)
        if not changes:
            continue

        seeds = study.runs.of(arm)
        accuracies, diverged = [], 0
        for run in seeds:
            accuracy = last_accuracy(run)
            if accuracy is not None:
                accuracies.append(accuracy)
            diverged += run.diverged_in is not None

        gains = _gains(study.runs, seeds, study.params.arms[arm].method)
        gain = f"{100 * statistics.fmean(gains):+.2f}" if gains else NOTHING
        numbers = ", ".join(map(str, study.runs.seeds(arm)))
        changed = ", ".join(f"{key} = {value}" for key, value in changes.items())
        rows.append([label(arm), changed, with_diverged(percent(accuracies), diverged), gain, numbers])

    title = "Sensitivity: parameters changed; test accuracy at the end, %"
    note = (
        "The difference is to the method's arm without the change, at the same seeds, in points. With one seed it "
        "cannot tell an effect from noise."
    )
    return Table(title, ["arm", "changed", "accuracy", "difference", "which seeds"], rows, note)


def last_accuracy(run: RunFolder) -> float | None:
    """Test accuracy at the run's end; None where it diverged before."""
    final = end_of_training(run)
    return None if final is None else float(final["test_accuracy"])


def _gains(runs: Runs, seeds: Sequence[RunFolder], method: str) -> list[float]:
    """Of each seed, by how much it ends above its method's own arm; of those in which both end."""
    gains = []
    for run in seeds:
        same = runs.get(method, run.seed)
        ours, without = last_accuracy(run), last_accuracy(same) if same else None
        if ours is not None and without is not None:
            gains.append(ours - without)
    return gains


def _read(path: Path) -> dict[str, Any]:
    remedy = "`git restore params` brings it back"
    sections = read_yaml(path, remedy)
    if not isinstance(sections, dict):
        raise ConfigError(f"{path}: found no sections, expected those of params.yaml; {remedy}")
    return sections


def _values(tree: Mapping[str, Any], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value of nested sections, with the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _values(value, (*place, key))
        else:
            yield (*place, key), value
