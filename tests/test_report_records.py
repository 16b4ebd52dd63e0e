"""Reports of several records, of a sweep over decay, and of what was not run; and times, which no report holds."""

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.report.__main__ import main
from eval.report.ending import main as end
from eval.report.judged import Judged
from eval.report.outcomes import Renewed
from eval.report.renewal import against, renewal_figure, slope_words, slopes_by_seed
from eval.report.settings import Study, by_tier, recorded_study
from eval.report.unrun import committed_seconds, lacks, price, unrun
from seal.cli import app
from seal.errors import UserError
from seal.planning.show import duration
from seal.record import append_timing, read_json
from seal.runs import Runs
from tests.claim_records import LEVELS, write_run, write_study
from tests.claims_json import absent, claim, document
from tests.invented_records import LEVEL, write_record
from tests.strategies import SMOKE, params_with

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the parameters and two small records: one of mini in two folders, one of smoke."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    write_study(Path("first"), seeds=(0, 1))
    write_study(Path("second"), seeds=(2,))
    write_study(Path("small"), {arm: LEVELS[arm] for arm in ("normal", "normal_long", "llf", "seal")}, tier="smoke")
    for folder in ("first", "second", "small"):
        (Path(folder) / "timings").mkdir()
    return tmp_path


def test_folders_of_one_tier_are_judged_together_and_those_of_another_alone(project: Path) -> None:
    assert by_tier([Path("first"), Path("small"), Path("second")]) == {
        "mini": [Path("first"), Path("second")],
        "smoke": [Path("small")],
    }
    append_timing("train@seal-0", 100.0)
    shutil.copy("timings/train@seal-0.csv", "second/timings")
    records = ["--record", "first", "--record", "small", "--record", "second"]
    shown = CliRunner().invoke(app, ["report", *records, "--out", "out"])
    assert shown.exit_code == 0, shown.output

    mini, smoke = (read_json(Path(f"out/{tier}/claims.json")) for tier in ("mini", "smoke"))
    assert (len(mini["runs"]), len(smoke["runs"])) == (27, 12)
    assert {entry["verdict"] for entry in smoke["claims"]} == {"NOT-COMPARABLE", "NOT-RUN"}
    assert {entry["id"]: entry["verdict"] for entry in mini["claims"]}["seal_over_llf"] == "SUPPORTED"

    header = next(line for line in Path("out/report.md").read_text().splitlines() if line.startswith("| claims"))
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["claims", "smoke", "mini"]
    assert "train@seal-0" in Path("out/times.html").read_text()
    assert "second/timings" in Path("out/times.html").read_text()


def test_a_folder_of_two_tiers_is_refused(project: Path) -> None:
    write_run(Path("first"), "seal", 7, LEVELS["seal"], tier="smoke")
    with pytest.raises(UserError, match="tier differs between"):
        by_tier([Path("first")])


def test_a_broken_run_has_no_say_in_the_tier_of_its_folder(project: Path) -> None:
    broken = write_run(Path("first"), "llf", 0, LEVELS["llf"], tier="smoke")
    (broken / "history.csv").unlink()
    assert by_tier([Path("first")]) == {"mini": [Path("first")]}

    for path in Path("first").glob("*/history.csv"):
        path.unlink()
    with pytest.raises(UserError, match=r"^first: found no run's folder"):
        by_tier([Path("first")])


def test_a_report_is_the_same_bytes_twice_and_holds_no_time(project: Path) -> None:
    judged = ["--record", "first", "--claims", "claims.json"]
    CliRunner().invoke(app, ["claims", "--record", "first", "--out", "claims.json"])
    main([*judged, "--out", "once"])
    append_timing("train@seal-0", 12345.0)
    shutil.copy("timings/train@seal-0.csv", "first/timings")
    main([*judged, "--out", "twice"])

    once, twice = ({path.name: path.read_bytes() for path in Path(out).rglob("*.*")} for out in ("once", "twice"))
    assert once == twice
    assert {"report.html", "report.md", "findings.md", "mini-accuracy.svg", "mini-accuracy.csv"} <= once.keys()
    assert not [name for name, content in once.items() if b"12345" in content]


def test_the_end_is_the_first_screen_and_times_may_be_none(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"report/findings\.md: not found; `dvc repro report` writes it"):
        end([])
    Path("report").mkdir()
    Path("report/findings.md").write_text("- **SEAL against LLF**\n")
    end([])
    said = "- **SEAL against LLF**\n\nall of it: report/report.html; times: none are recorded\n"
    assert capsys.readouterr().out == said

    append_timing("train@seal-0", 100.0)
    end([])
    assert capsys.readouterr().out.endswith("; times: timings/times.html\n")
    assert "train@seal-0" in Path("timings/times.html").read_text()


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    """SEAL, LLF and Normal (long) at smoke's decay and at four times as much, by two seeds; and SEAL at another S."""
    arms, lists = {}, []
    for method in ("seal", "llf", "normal_long"):
        arms[f"{method}_d4"] = SMOKE["arms"][method] | {"weight_decay": 2e-3}
    arms["seal_s3"] = SMOKE["arms"]["seal"] | {"ascent_lr_scale": 0.3}
    params = params_with(arms=SMOKE["arms"] | arms, sensitivity_arms=[*arms], sensitivity_seeds=[0, 1])

    levels = {"seal": 0.5, "llf": 0.5, "normal_long": 0.4, "seal_d4": 0.6, "llf_d4": 0.5, "normal_long_d4": 0.4}
    for arm, level in (levels | {"seal_s3": 0.9}).items():
        monkeypatch.setitem(LEVEL, arm, level)
        for seed in (0, 1):
            write_record(tmp_path, params.run(arm, seed))
            lists.append(f"{arm}-{seed}")
    return Judged(Study(params, Runs.read([tmp_path], lists), {}), {})


def test_a_sweep_over_decay_is_drawn_by_how_often_it_renews_the_weights(sweep: Judged) -> None:
    rates = 0.01 + 0.0085355 + 0.005 + 0.0014645  # of the invented cosine's four epochs
    steps = math.ceil(3500 / 32)  # an epoch's, of smoke's images that train
    once, four_times = (float(f"{rates * steps * decay:.3g}") for decay in (5e-4, 2e-3))

    (figure,) = renewal_figure(sweep)
    rows = [line.split(",") for line in figure.points.splitlines()[1:]]
    assert {(less, float(renewal)) for less, _, renewal, *_ in rows} == {
        (less, renewal) for less in ("llf", "normal_long") for renewal in (once, four_times)
    }
    assert len(rows) == 8, "of two seeds each; an arm with another S alone is no part of the sweep"

    def end(arm: str, seed: int) -> float:
        run = sweep.study.runs.get(arm, seed)
        assert run is not None
        return float(run.summary["final"]["test_accuracy"])

    at_once, at_four = against(sweep.study, "llf")
    assert (at_once.renewal, at_four.renewal) == (once, four_times)
    for point, suffix in ((at_once, ""), (at_four, "_d4")):
        for seed, difference in point.by_seed.items():
            assert difference == pytest.approx(100 * (end(f"seal{suffix}", seed) - end(f"llf{suffix}", seed)))
    assert f"at D = {four_times:g} (S = 0.01, 2 seeds)" in figure.caption

    slopes = [(at_four.by_seed[seed] - at_once.by_seed[seed]) / (four_times - once) for seed in (0, 1)]
    assert slopes_by_seed([at_once, at_four]) == pytest.approx(slopes)
    assert f"Slope over D {sum(slopes) / 2:+.2f}" in figure.caption


def test_a_slope_is_of_the_seeds_that_have_each_decay_and_says_its_p() -> None:
    points = [
        Renewed(0.5, 0.3, "smoke", {0: 1.0, 1: 2.0, 2: 3.0, 3: 9.0}),
        Renewed(1.0, 0.1, "smoke", {0: 2.0, 1: 2.5, 2: 4.0}),
        Renewed(2.0, 0.01, "smoke", {0: 4.0, 1: 5.5, 2: 5.0, 4: -9.0}),
    ]
    slopes = slopes_by_seed(points)
    by_hand = [2.0, 2.4286, 1.2857]  # sums of (D - 7/6) * difference over those of (D - 7/6) ** 2, which are 7/6
    assert slopes == pytest.approx(by_hand, abs=1e-4)

    assert slope_words(points) == "Slope over D +1.90 ± 1.43 points (95%, 3 seeds, two-sided p = 0.029)."
    assert slope_words(points[:1]).startswith("No slope")
    assert slope_words([points[0], Renewed(1.0, 0.1, "smoke", {2: 1.0})]).startswith("No slope")


def test_another_tier_of_the_same_images_and_network_stands_beside_the_sweep(sweep: Judged) -> None:
    (alone,) = renewal_figure(sweep)
    assert renewal_figure(sweep, [Judged(recorded_study([ROOT / "expected/mini"]), {})]) == [alone], "other images"

    plain = Runs(run for run in sweep.study.runs if not run.arm.endswith("_d4"))
    params = sweep.study.params.model_copy(update={"tier": "mini"})
    (beside,) = renewal_figure(sweep, [Judged(replace(sweep.study, params=params, runs=plain), {})])
    rows = beside.points.splitlines()
    assert {*alone.points.splitlines()} < {*rows}
    assert sum(row.split(",")[1] == "mini" for row in rows) == 4
    assert beside.caption.count("(mini, S = 0.01, 2 seeds)") == 2
    assert [words for words in beside.caption.split(". ") if words.startswith("Slope")] == [
        words for words in alone.caption.split(". ") if words.startswith("Slope")
    ]
    assert "mini, S = 0.01, less LLF" in beside.svg


def test_without_a_second_decay_there_is_no_such_figure(sweep: Judged) -> None:
    plain = Runs(run for run in sweep.study.runs if not run.arm.endswith("_d4"))
    assert renewal_figure(Judged(replace(sweep.study, runs=plain), {})) == []


def lacking() -> list[dict[str, Any]]:
    """Claims of mini that lack a target, a shot, an arm and later generations."""
    where = {"target": ["chestx_ray8"], "shot": [5], "block": None, "measure": [], "paper_targets": []}
    other = where | {"target": ["eurosat"]}
    fewshot = {"needs": ["fewshot"], "area": "C4"}
    return [
        claim("a", "NOT-RUN", absent("seal", "llf", "x"), where=where, **fewshot),
        claim("b", "NOT-RUN", absent("seal", "llf", "seal-0/eval/fewshot-eurosat: 1-shot"), where=other, **fewshot),
        claim("c", "NOT-RUN", absent("seal", "imp", "no run of imp")),
        claim("d", "NOT-RUN", absent("seal@10", "seal@3", "seal-0 ends at generation 3")),
        claim("e", "SUPPORTED", {}),
    ]


def test_what_was_not_run_says_why_and_what_it_would_cost_by_committed_timings() -> None:
    study = recorded_study([ROOT / "expected/mini"])
    without_imp = replace(study, runs=Runs(run for run in study.runs if run.arm != "imp"))
    judged = Judged(without_imp, document([], tier="mini") | {"claims": lacking()})
    found = lacks(judged)
    assert [(*reason, lack.claims) for reason, lack in found.items()] == [
        ("fewshot", "the tier leaves these targets, or some of their shots, out", 1),
        ("fewshot", "asked for, not reached yet", 1),
        ("trainings", "asked for, not reached yet", 1),
        ("later generations", "the tier ends after generation 3", 1),
    ]
    left_out, fewshot, trainings, later = found.values()
    for lack, target in ((left_out, "chestx_ray8"), (fewshot, "eurosat")):
        assert lack.stages == {f"fewshot@{arm}-{seed}-{target}" for arm in ("seal", "llf") for seed in (0, 1, 2)}
    assert trainings.stages == {f"train@imp-{seed}" for seed in (0, 1, 2)}
    assert later.longer == pytest.approx(10 / 3)

    known = committed_seconds(ROOT / "expected/mini/timings", "fewshot")
    assert len(known) > 10
    assert price("mini", fewshot) == f"6 stages, about {duration(6 * sum(known) / len(known))}"
    assert price("paper", fewshot) == "6 stages; no committed rate"

    rows = unrun([judged]).rows
    assert rows[-1][0] == "paper"
    assert "h of one H100" in rows[-1][-1]
