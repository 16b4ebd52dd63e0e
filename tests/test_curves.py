"""What `dvc plots show` draws: the stage's files, and that templates and columns of dvc.yaml are there."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from seal import curves
from seal.errors import UserError
from seal.record import HISTORY_COLUMNS, RESULTS, read_json
from tests.invented_records import invented_run, write_record
from tests.strategies import SMOKE

ROOT = Path(__file__).parents[1]


def test_the_stage_writes_each_epoch_and_each_generations_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.safe_dump(SMOKE | {"main_arms": ["seal"], "evaluated_arms": ["seal"]}))
    for arm in ("normal", "seal"):
        write_record(RESULTS, invented_run(arm))

    curves.main()
    with curves.ACCURACY.open(encoding="utf-8", newline="") as file:
        rows = [(row["arm"], row["seed"], row["generation"], row["test_accuracy"]) for row in csv.DictReader(file)]
    ends = []
    for arm in ("normal", "seal"):
        for outcome in read_json(RESULTS / f"{arm}-0/summary.json")["outcomes"]:
            ends.append((arm, "0", str(outcome["generation"]), str(outcome["test_accuracy"])))
    assert rows == ends
    assert len(rows) == 3
    assert len(curves.CURVES.read_text().splitlines()) == 1 + 3 * 4, "generations of four epochs"


@pytest.mark.parametrize("spoil", [lambda summary: summary["outcomes"][0].pop("test_accuracy"), dict.clear])
def test_a_summary_that_lacks_what_is_drawn_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[dict[str, Any]], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_record(RESULTS, invented_run("seal"))
    path = RESULTS / "seal-0/summary.json"
    summary = read_json(path)
    spoil(summary)
    for text in (json.dumps(summary), "{"):
        path.write_text(text)
        with pytest.raises(UserError, match=f"^{path}: "):
            curves.ends(["seal-0"])


def test_plots_name_templates_and_columns_that_there_are() -> None:
    columns = {str(curves.CURVES): HISTORY_COLUMNS, str(curves.ACCURACY): curves.ACCURACY_COLUMNS}
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    assert len(plots) == 5
    for plot in plots:
        (settings,) = plot.values()
        template = ROOT / f".dvc/plots/{settings['template']}.json"
        assert "<DVC_METRIC_Y>" in json.dumps(json.loads(template.read_text(encoding="utf-8")))
        ((file, column),) = settings["y"].items()
        assert {settings["x"], column} <= {*columns[file]}
