"""Reports of several records, of a sweep over decay, and of what was not run; and times, which no report holds."""

import math
import re
import shutil
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from eval.report.__main__ import main
from eval.report.ending import main as end
from eval.report.judged import Judged
from eval.report.outcomes import Renewed
from eval.report.renewal import against, drawn_beside, renewal_figure, slope_words, slopes_by_seed, words_of
from eval.report.settings import Study, by_tier, recorded_study, recorded_values
from eval.report.unrun import Lack, committed_seconds, lacks, price, unrun
from seal.cli import app
from seal.errors import UserError
from seal.planning.show import duration
from seal.record import read_json, write_json
from seal.runs import RunFolder, Runs
from seal.timings import append_timing
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
    with pytest.raises(UserError, match=r"^first: found no run that holds together"):
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


ONCE, FOUR_TIMES = ({"weight_decay": decay} for decay in (5e-4, 2e-3))
LEVELS_AT_ONCE = {"seal": 0.5, "llf": 0.5, "normal_long": 0.4}
Recorded = Callable[[dict[str, Any], dict[str, float]], Study]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Writes a record of two seeds, trained with such values, whose arms end at such levels."""

    def write(training: dict[str, Any], levels: dict[str, float]) -> Study:
        params = params_with(training=SMOKE["training"] | training)
        folder = tmp_path / str(training)
        for arm, level in levels.items():
            monkeypatch.setitem(LEVEL, arm, level)
            for seed in (0, 1):
                write_record(folder, params.run(arm, seed))
        runs = Runs.read([folder])
        return Study(params, runs, recorded_values(runs))

    return write


def test_a_sweep_over_decay_is_drawn_by_how_often_it_renews_the_weights(recorded: Recorded) -> None:
    rates = 0.01 + 0.0085355 + 0.005 + 0.0014645  # of the invented cosine's four epochs
    steps = math.ceil(3500 / 32)  # an epoch's, of smoke's images that train
    renewals = [float(f"{rates * steps * decay:.3g}") for decay in (5e-4, 2e-3)]

    studies = recorded(ONCE, LEVELS_AT_ONCE), recorded(FOUR_TIMES, LEVELS_AT_ONCE | {"seal": 0.6})
    (figure,) = renewal_figure(studies[1], [studies[0]])
    points = [against(study, "llf", studies[1]) for study in studies]
    assert len(figure.points.splitlines()) == 1 + 8, "of two seeds at two decays, less two arms"

    for study, renewal, point in zip(studies, renewals, points, strict=True):
        assert point is not None
        assert (point.renewal, point.name) == (renewal, "")
        for seed, difference in point.by_seed.items():
            seal, llf = (study.runs.get(arm, seed) for arm in ("seal", "llf"))
            assert seal is not None
            assert llf is not None
            ends = [run.summary["final"]["test_accuracy"] for run in (seal, llf)]
            assert difference == pytest.approx(100 * (ends[0] - ends[1]))
            assert f"llf,,{renewal:g},0.01,{seed},{difference}" in figure.points

    assert {tuple(point.failing) for point in points if point} == {("R1", "R2")}, "invented records have not learnt"
    slopes = slopes_by_seed([*filter(None, points)])
    last = f"at D = {renewals[1]:g} (S = 0.01, 2 seeds, R1 and R2 not met)"
    assert f"{last}; " not in figure.caption, "D rises"
    assert f"{last}. Slope over D {sum(slopes) / 2:+.2f}" in figure.caption


def test_a_slope_is_of_the_seeds_that_have_each_decay_and_says_its_p() -> None:
    points = [
        Renewed(0.5, 0.3, "", {0: 1.0, 1: 2.0, 2: 3.0, 3: 9.0}),
        Renewed(1.0, 0.1, "", {0: 2.0, 1: 2.5, 2: 4.0}),
        Renewed(2.0, 0.01, "", {0: 4.0, 1: 5.5, 2: 5.0, 4: -9.0}),
    ]
    slopes = slopes_by_seed(points)
    by_hand = [2.0, 2.4286, 1.2857]  # sums of (D - 7/6) * difference over those of (D - 7/6) ** 2, which are 7/6
    assert slopes == pytest.approx(by_hand, abs=1e-4)

    assert slope_words(points) == "Slope over D +1.90 ± 1.43 points (95%, 3 seeds, two-sided p = 0.029)."
    assert slope_words(points[:1]).startswith("No slope")
    assert slope_words([points[0], Renewed(1.0, 0.1, "", {2: 1.0})]).startswith("No slope")


def test_a_record_that_was_trained_otherwise_stands_beside_the_sweep_and_in_no_slope(recorded: Recorded) -> None:
    study, other = recorded(ONCE, LEVELS_AT_ONCE), recorded(FOUR_TIMES, LEVELS_AT_ONCE)
    (alone,) = renewal_figure(study, [other])
    mini = recorded_study([ROOT / "expected/mini"])
    assert renewal_figure(study, [other, mini]) == [alone], "other images"

    otherwise = recorded({"weight_decay": 1e-3, "batch_size": 64}, LEVELS_AT_ONCE | {"seal": 0.9})
    (beside,) = renewal_figure(study, [other, otherwise])
    assert {*alone.points.splitlines()} < {*beside.points.splitlines()}
    assert beside.caption.count("(smoke, S = 0.01, 2 seeds, R1") == 2
    assert beside.caption.count("Slope") == 2
    for slope in re.findall(r"Slope[^)]*\)", alone.caption):
        assert slope in beside.caption
    assert ">smoke, S = 0.01<" in beside.svg
    assert ">smoke" not in alone.svg


def test_a_seed_that_diverged_is_counted_beside_those_that_have_a_difference(recorded: Recorded) -> None:
    study = recorded(ONCE, LEVELS_AT_ONCE)
    summary = study.runs.of("seal")[1].folder / "summary.json"
    facts = read_json(summary) | {"diverged": {"generation": 2, "epoch": 0, "batch": 1}}
    write_json(summary, facts | {"outcomes": facts["outcomes"][:1], "final": facts["outcomes"][0]})
    runs = Runs([RunFolder.read(run.folder) for run in study.runs])

    point = against(replace(study, runs=runs), "llf", study)
    assert point is not None
    assert ([*point.by_seed], point.diverged) == ([0], 1)
    assert "(S = 0.01, 1 seed, 1 more diverged, R1 and R2 not met)" in words_of(point)

    write_json(summary.parents[1] / "seal-0/summary.json", read_json(summary) | {"seed": 0, "run": "seal-0"})
    runs = Runs([RunFolder.read(run.folder) for run in study.runs])
    point = against(replace(study, runs=runs), "llf", study)
    assert point is not None
    assert re.fullmatch(r"none at D = [\d.]+ \(S = 0.01, 2 diverged\)", words_of(point))


def test_a_point_without_a_seed_is_told_and_not_drawn(recorded: Recorded) -> None:
    study, other, third = (recorded(ONCE | {"weight_decay": decay}, LEVELS_AT_ONCE) for decay in (5e-4, 1e-3, 2e-3))
    (drawn,) = renewal_figure(study, [other])
    for run in third.runs.of("seal"):
        summary = run.folder / "summary.json"
        facts = read_json(summary) | {"diverged": {"generation": 2, "epoch": 0, "batch": 1}}
        write_json(summary, facts | {"outcomes": facts["outcomes"][:1], "final": facts["outcomes"][0]})
    all_diverged = replace(third, runs=Runs([RunFolder.read(run.folder) for run in third.runs]))

    (figure,) = renewal_figure(study, [other, all_diverged])
    assert figure.points == drawn.points
    assert figure.caption.count("(S = 0.01, 2 diverged)") == 2


def test_a_committed_study_is_drawn_with_its_sweep(tmp_path: Path) -> None:
    assert drawn_beside(tmp_path / "regime") == []
    for name in ("regime_d015", "mini", "other"):
        (tmp_path / name).mkdir()
    assert drawn_beside(tmp_path / "regime") == [tmp_path / "regime_d015", tmp_path / "mini"]
    assert drawn_beside(tmp_path / "mini") == drawn_beside(Path("results")) == []


def test_without_a_second_decay_there_is_no_such_figure(recorded: Recorded) -> None:
    study = recorded(ONCE, LEVELS_AT_ONCE)
    assert renewal_figure(study, []) == []
    assert renewal_figure(study, [recorded(FOUR_TIMES, {"seal": 0.5, "llf": 0.5})]) == [], "no Normal (long)"


def test_the_command_draws_records_beside_the_one_that_it_reports(project: Path) -> None:
    records = ["--record", "first", "--beside", "small", "--out", "out"]
    shown = CliRunner().invoke(app, ["report", *records])
    assert shown.exit_code == 0, shown.output
    assert "mini-renewal" in Path("out/report.md").read_text()


def test_a_committed_studys_report_draws_its_sweep_unless_another_is_given(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []

    def no_report(studies: object, claims: object, out: Path, own: object, beside: list[Study]) -> Path:
        seen.append([run.folder.parent for study in beside for run in study.runs][:1])
        return out

    monkeypatch.setattr("eval.report.__main__.report", no_report)
    Path("first").rename("regime")
    Path("second").rename("mini")
    main(["--record", "regime"])
    main(["--record", "regime", "--beside", "small"])
    main(["--record", "mini"])
    assert seen == [[Path("mini")], [Path("small")], []]


def lacking() -> list[dict[str, Any]]:
    """Claims of mini that lack a target, a shot, an arm and later generations."""
    where = {"target": ["chestx_ray8"], "shot": [5], "block": None, "measure": [], "paper_targets": []}
    other = where | {"target": ["eurosat"]}
    fewshot = {"needs": ["fewshot"], "area": "C4"}
    return [
        claim("a", "NOT-RUN", absent("seal", "llf", "x"), where=where, **fewshot),
        claim("b", "NOT-RUN", absent("seal", "llf", "seal-0/eval/fewshot-eurosat: 1-shot"), where=other, **fewshot),
        claim("c", "NOT-RUN", absent("seal", "imp", "no run of imp")),
        claim("d", "NOT-RUN", absent("seal@10", "normal", "seal-0 ends at generation 3")),
        claim("e", "SUPPORTED", {}),
    ]


def test_an_arm_without_a_seed_in_common_and_a_base_that_is_missing_are_told_as_such() -> None:
    study = recorded_study([ROOT / "expected/mini"])
    apart = claim("a", "NOT-RUN", absent("seal", "llf", "no seed has both"), reason="no seed has both")
    based = claim("b", "NOT-RUN", absent("seal", "normal", "no run of normal"))
    without_normal = replace(study, runs=Runs(run for run in study.runs if run.arm != "normal"))
    found = lacks(Judged(without_normal, document([], tier="mini") | {"claims": [apart, based]}))
    assert [*found] == [("trainings", "no seed has both"), ("trainings", "asked for, not reached yet")]
    assert [[*lack.stages] for lack in found.values()] == [[], ["base@0", "base@1", "base@2"]]
    assert price("mini", next(iter(found.values()))) == "–"


def test_an_arm_of_which_no_training_was_timed_is_priced_by_the_main_arms() -> None:
    lack = Lack(stages={"train_extra@seal_freeze-0": 1.0, "train_sensitivity@llf_best-1": 2.0})
    known = committed_seconds(ROOT / "expected/smoke/timings", "train")
    assert known
    assert not committed_seconds(ROOT / "expected/smoke/timings", "train_extra")
    assert price("smoke", lack) == f"2 stages, about {duration(3 * statistics.median(known))}"
    assert price("paper", lack) == "2 stages; no committed rate"


def test_a_stages_time_is_its_longest_as_a_resumed_one_has_shorter_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for stage, seconds in (
        ("train@seal-0", 700.0),
        ("train@seal-0", 8.0),
        ("train@seal-1", 650.0),
        ("train_extra@imp-0", 9.0),
    ):
        append_timing(stage, seconds)
    assert committed_seconds(Path("timings"), "train") == [700.0, 650.0]


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
        assert {*lack.stages} == {f"fewshot@{arm}-{seed}-{target}" for arm in ("seal", "llf") for seed in (0, 1, 2)}
    assert trainings.stages == {"train_sensitivity@imp-0": 1}, "the tier asks for one seed of it"

    nine_for_two = pytest.approx(9 / 2)  # generations 2 to 10 for 2 and 3; one arm ends where the tier does, as normal
    assert later.stages == {f"train@seal-{seed}": nine_for_two for seed in (0, 1, 2)}

    known = committed_seconds(ROOT / "expected/mini/timings", "fewshot")
    assert len(known) > 10
    assert price("mini", fewshot) == f"6 stages, about {duration(6 * statistics.median(known))}"
    assert price("paper", fewshot) == "6 stages; no committed rate"
    known = committed_seconds(ROOT / "expected/mini/timings", "train")
    assert price("mini", later) == f"3 stages, about {duration(3 * 4.5 * statistics.median(known))}"

    rows = unrun([judged]).rows
    assert rows[-1][0] == "paper"
    assert "h of one H100" in rows[-1][-1]
