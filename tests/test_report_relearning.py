"""The table of methods that forget and relearn: which arms it has, and what it says of them."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from eval.report.choices import sensitivity
from eval.report.drawing import styles
from eval.report.judged import Judged
from eval.report.relearning import STEPS, interval, relearning
from eval.report.settings import Study, recorded_study
from seal.record import read_json, write_csv, write_json
from seal.runs import Runs
from seal.tiers import tier_params
from tests.invented_records import invented_run, write_record
from tests.strategies import params_with


def study(results: Path, *runs: tuple[str, int], **final: Any) -> Judged:
    """Of invented records; `final` is what imp's say beside."""
    for arm, seed in runs:
        folder = write_record(results, invented_run(arm, seed))
        if arm == "imp":
            summary = read_json(folder / "summary.json")
            summary["final"] |= final
            summary["outcomes"][-1] |= final
            write_json(folder / "summary.json", summary)
    study = Study(params_with(sensitivity_arms=["imp"], sensitivity_seeds=[0]), Runs.read([results]), {})
    return Judged(study, {})


MAIN = [("normal", 0), ("normal_long", 0), ("llf", 0), ("seal", 0)]
MEASURED = {"live_share": 0.512, "live_weights": 512, "moved_early": 3.25, "moved_late": 4.5}


def test_without_such_a_method_there_is_no_such_section(tmp_path: Path) -> None:
    assert relearning(study(tmp_path, *MAIN)) is None


def test_an_arm_that_says_how_far_it_moved_is_shown_beside_the_main_ones(tmp_path: Path) -> None:
    section = relearning(study(tmp_path, *MAIN, ("imp", 0), **MEASURED))
    assert section is not None
    table, figure = section.parts  # no evaluation was run
    assert {row[0] for row in table.rows} == {"LLF", "Normal", "Normal (long)", "SEAL", "imp"}
    cells_of = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    cells = cells_of["imp"]
    summary = read_json(tmp_path / "imp-0/summary.json")
    for outcome in summary["outcomes"]:
        assert cells[f"generation {outcome['generation']}"] == f"{100 * outcome['test_accuracy']:.2f}"
    assert cells["95% interval of the last"] == "one seed"
    assert cells["live weights, %"] == "51.2"
    assert cells["distance, late side"] == "4.50"
    assert "steps that climb, %" not in cells, "none of these tosses a coin"
    assert {row["live weights, %"] for row in cells_of.values()} == {"–", "51.2"}
    assert "One seed: " in figure.caption
    assert ">imp<" in figure.svg


def test_an_arm_that_changes_nothing_of_its_method_stands_here_and_not_among_changed_parameters() -> None:
    kept = recorded_study([Path(__file__).parents[1] / "expected/mini"])
    changed = {row[0]: row[1] for row in sensitivity(kept, ()).rows}
    assert {"ke_wels", "shrink_perturb", "imp", "sagd"} <= {*kept.runs.arms}.difference(changed)
    assert changed["imp_late"] == "rewound_share = 0.05"


def test_what_a_step_takes_stands_there_where_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(STEPS, ["arm", "step_beside_normal"], [{"arm": "imp", "step_beside_normal": "1.048"}])
    section = relearning(study(tmp_path, *MAIN, ("imp", 0), **MEASURED))
    assert section is not None
    table = section.parts[0]
    assert {row[0]: row[-1] for row in table.rows} == {
        "Normal": "–", "Normal (long)": "–", "LLF": "–", "SEAL": "–", "imp": "1.05",
    }  # fmt: skip


def test_the_interval_is_students(tmp_path: Path) -> None:
    runs = study(tmp_path, *((("imp", seed)) for seed in range(3)), **MEASURED).study.runs
    ends = [100 * run.summary["final"]["test_accuracy"] for run in runs]
    half = 4.302652729911275 * statistics.stdev(ends) / 3**0.5  # t of two degrees of freedom at 97.5%, by a table
    low, high = map(float, interval(runs.of("imp")).split(" to "))
    assert (low, high) == pytest.approx((statistics.mean(ends) - half, statistics.mean(ends) + half), abs=0.005001)


def test_no_two_arms_of_a_study_have_one_colour_and_dash() -> None:
    params = tier_params("mini")
    arms = dict.fromkeys(["normal", *params.main_arms, *params.evaluated_sensitivity_arms])
    looks = {(style["color"], style["linestyle"]) for style in styles(arms).values()}
    assert len(looks) == len(arms) == 15
