"""Records that are merged, and the stage `python -m eval.claims`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from eval.claims.__main__ import main
from eval.claims.claim_list import load_claims
from eval.claims.rule import Verdict
from eval.report.__main__ import main as report
from seal.cli import app
from seal.errors import UserError
from seal.record import read_json
from tests.claim_records import SEEDS, refails, verdict, verdicts, write_run, write_study, write_transfer
from tests.strategies import SMOKE

ROOT = Path(__file__).parents[1]
STAGE = ["--out", "claims/claims.json"]


def verdicts_in(path: Path) -> dict[str, str]:
    claims = json.loads(path.read_text())["claims"]
    return {claim["id"]: claim["verdict"] for claim in claims}


def test_several_folders_are_one_record(study: Path, tmp_path: Path) -> None:
    expected = {name: member.verdict for name, member in verdicts(study).items()}
    other = tmp_path / "more"
    other.mkdir()
    for seed in (1, 2):
        for folder in sorted(study.glob(f"*-{seed}")):
            shutil.move(folder, other / folder.name)
    shutil.copytree(study / "seal-0", other / "seal-0")
    assert {name: member.verdict for name, member in verdicts(study, other).items()} == expected
    write_run(other, "seal", 0, (0.1, 0.1, 0.1))
    with pytest.raises(UserError, match="two records of one run differ"):
        verdicts(study, other)


@pytest.mark.parametrize(("key", "value"), [("tier", "smoke"), ("data_sha256", "00"), ("model", {"depth": 50})])
def test_runs_of_different_studies_are_not_mixed(study: Path, key: str, value: object) -> None:
    refails(study, "llf", 1, change=lambda summary: summary.__setitem__(key, value))
    with pytest.raises(UserError, match=f"{key} differs between"):
        verdicts(study)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "weight_decay", 0.5),
        ("generations", "layer_threshold", "layer4"),
        ("options", "ascent_lr_scale", 0.7),
    ],
)
def test_seeds_of_an_arm_that_was_trained_otherwise_are_not_pooled(
    study: Path, section: str, key: str, value: object
) -> None:
    refails(study, "seal", 1, change=lambda summary: summary[section].__setitem__(key, value))
    found = rf"{section} differs between .*seal-0 \(\{{'{key}': [^,]*\}}\) and .*seal-1 \(\{{'{key}': '?{value}'?\}}\)"
    with pytest.raises(UserError, match=found):
        verdicts(study)


def test_weights_are_not_needed_and_other_folders_not_minded(study: Path) -> None:
    (study / "notes").mkdir()
    (study / "notes/PROTOCOL.md").write_text("protocol")
    assert not list(study.glob("*/weights"))
    assert verdict(study, "seal_over_llf") == Verdict.SUPPORTED


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    params = SMOKE | {"tier": "mini", "seeds": [0, 1, 2], "extra_arms": ["seal_freeze"], "extra_seeds": [0, 1, 2]}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    write_study(tmp_path / "results")
    return tmp_path


def test_the_stage_writes_verdicts_with_the_files_they_rest_on(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_transfer(project / "results", "digits", {"seal": 0.7, "normal": 0.5, "normal_long": 0.4, "llf": 0.6})
    write_transfer(project / "results", "stale", {"seal": 0.1, "normal": 0.5, "normal_long": 0.4, "llf": 0.6})
    for path in Path("results").glob("*/eval/transfer-stale/gen-*.json"):  # of an earlier tier's networks
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tier": "smoke", "checkpoint_sha256": "0" * 64}))

    main(STAGE)
    text = (project / "claims/claims.json").read_text()
    document = json.loads(text)
    claims = {claim["id"]: claim for claim in document["claims"]}
    assert claims["seal_over_llf"]["verdict"] == "SUPPORTED"
    assert claims["seal_over_s0"]["verdict"] == "NOT-RUN", "a run that params.yaml does not name is not looked at"
    assert claims["transfer_family"]["comparisons"][0]["cells"] == ["digits"], "nor is a target"
    stages = {
        claim: {document["files"][name]["stage"] for name in claims[claim]["files"]}
        for claim in ("seal_over_llf", "llf_transfer_below_normal_family")
    }
    assert stages["seal_over_llf"] == {f"train@{arm}-{seed}" for arm in ("seal", "llf") for seed in SEEDS}
    assert stages["llf_transfer_below_normal_family"] == {
        *(f"transfer@{arm}-{seed}-digits" for arm in ("normal", "llf") for seed in SEEDS),
        *(f"{stage}{seed}" for stage in ("base@", "train@llf-") for seed in SEEDS),  # its conditions
    }
    assert document["files"]["normal-0/summary.json"]["stage"] == "base@0"
    assert len(document["files"]["seal-0/summary.json"]["sha256"]) == 64
    assert str(project) not in text
    listed = load_claims()
    counts = f"{len(listed.claims)} verdicts, and {len(listed.untestable)} claims that cannot be tested"
    assert capsys.readouterr().out == f"claims/claims.json: {counts}\n"
    main(STAGE)
    assert (project / "claims/claims.json").read_text() == text
    capsys.readouterr()
    main([])
    shown = capsys.readouterr().out
    assert all(len(line) <= 150 for line in shown.splitlines())
    assert "seal_over_llf" in shown
    assert (project / "claims/claims.json").read_text() == text, "a look leaves it alone"


def test_committed_folders_stand_for_results_and_parameters(project: Path, tmp_path: Path) -> None:
    shutil.move(project / "results", project / "expected")
    Path("params.yaml").unlink()
    main(["--record", "expected", "--out", "out.json"])
    main(["--record", "expected"])
    assert not Path("claims").exists(), "a look at other folders leaves the pipeline's output alone"
    judged = verdicts_in(Path("out.json"))
    assert judged["seal_over_s0"] == "SUPPORTED"
    assert judged["transfer_family"] == "NOT-RUN"


def test_the_commands_read_committed_folders_at_their_own_tier(project: Path) -> None:
    shutil.move(project / "results", project / "expected")
    Path("params").symlink_to(ROOT / "params")
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    for path in Path("expected").glob("*/summary.json"):  # made before the tier's parameters changed
        summary = json.loads(path.read_text())
        summary["training"]["learning_rate"] = 0.0625
        path.write_text(json.dumps(summary))
    shown = CliRunner().invoke(app, ["claims", "--record", "expected"])
    assert (shown.exit_code, "seal_over_llf" in shown.output) == (0, True), shown.output
    shown = CliRunner().invoke(app, ["report", "--record", "expected"])
    assert (shown.exit_code, "report: report-record/report.html" in shown.output) == (0, True), shown.output
    text = Path("report-record/report.md").read_text(encoding="utf-8")
    words = " ".join(text.split())
    assert "tier mini" in words
    assert ", seeds 0, 1, 2." in words, "every run that is there"
    assert "| training.learning_rate | 0.01 | 0.1 | 0.0625 |" in words, "as the runs were made, not as a file says"
    judged = verdicts_in(Path("report-record/mini/claims.json"))
    assert judged["seal_over_llf"] == "SUPPORTED"
    assert "- **SEAL against LLF**: ✓ SUPPORTED." in shown.output, "the first screen, in the terminal too"

    shown = CliRunner().invoke(app, ["claims", "--record", "expected", "--show", "seal_over_llf"])
    assert "in the report: report.html#mini-seal_over_llf" in shown.output


def test_only_strict_fails_on_a_refuted_claim(project: Path) -> None:
    write_study(project / "results", {"seal": (0.5, 0.4, 0.3)})
    main([])
    with pytest.raises(SystemExit, match="error: REFUTED: seal_over_normal_long, seal_over_llf"):
        main(["--strict"])
    with pytest.raises(SystemExit, match="error: REFUTED: seal_over_normal_long, seal_over_llf"):
        main(["--strict", "--show", "llf_over_normal"])


def test_an_empty_record_or_a_broken_one_ends_the_stage_with_one_line(project: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(SystemExit, match=r"empty: found no run's folder with a sound record"):
        main(["--record", "empty"])
    for path in Path("results").glob("*/predictions/gen-01.npz"):
        path.unlink()
    with pytest.raises(SystemExit, match=r"BROKEN: results/\S+/predictions/gen-01.npz: not found"):
        main([])


def test_a_broken_run_is_shown_as_such_and_is_no_evidence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("results/llf-1/predictions/gen-03.npz")
    path.unlink()
    main(["--out", "claims/claims.json"])
    printed, verdicts = capsys.readouterr().out, read_json(Path("claims/claims.json"))
    assert f"BROKEN, and no evidence: {path}: not found" in printed
    assert list(verdicts["broken"]) == ["llf-1"]
    assert "llf-1" not in verdicts["runs"]
    assert not [name for name in verdicts["files"] if name.startswith("llf-1/")]


@pytest.mark.parametrize("committed", sorted(ROOT.glob("expected/*/claims.json")), ids=lambda path: path.parent.name)
def test_the_committed_verdicts_are_those_of_the_committed_record(committed: Path, tmp_path: Path) -> None:
    main(["--record", str(committed.parent), "--out", str(tmp_path / "claims.json")])
    made = (tmp_path / "claims.json").read_text(encoding="utf-8")
    assert made == committed.read_text(encoding="utf-8"), f"{committed} is stale: run `make tables`"


@pytest.mark.parametrize("command", [main, report])
def test_a_folder_that_is_not_there_is_named(command: Callable[[list[str]], None], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="nowhere: no such folder, expected one of runs, as expected/mini"):
        command(["--record", str(tmp_path / "nowhere")])
