"""A run for each arm in the MLflow view, over its seeds."""

from pathlib import Path
from typing import Any

import pytest

from seal.errors import UserError
from seal.record import RESULTS, read_json, write_json
from seal.tracking.arms import CLAIMS, sync_aggregates
from seal.tracking.mlflow_view import View, run_key
from tests.invented_records import evaluation_facts, facts_of, invented_run, write_record
from tests.tracked_project import project as project
from tests.tracked_project import pytestmark as pytestmark
from tests.tracked_project import shared_project as shared_project
from tests.tracked_project import surroundings as surroundings


def test_an_arm_shows_its_seeds_means_the_verdicts_and_the_figures(project: Path) -> None:
    runs = [invented_run("seal", seed) for seed in (20, 21)]
    for run, accuracy in zip(runs, (0.25, 0.75), strict=True):
        folder = write_record(RESULTS, run)
        facts = evaluation_facts(folder, "transfer-digits", 2) | {"values": {"accuracy": accuracy, run.name: 1.0}}
        write_json(folder / "eval/transfer-digits/gen-02.json", facts)
    write_json(CLAIMS, {"tier": "smoke"})
    Path("report/figures").mkdir(parents=True, exist_ok=True)
    Path("report/figures/smoke-accuracy.svg").write_text("<svg/>")
    Path("report/findings.md").write_text("- **SEAL against LLF**")
    names = [run.name for run in runs]

    def status(of: list[str]) -> list[tuple[str, str]]:
        return [(outcome.run, outcome.status) for outcome in sync_aggregates(dict.fromkeys(of))]

    assert status([*names, "llf-9"]) == [("seal", "written")]
    view = View(project)
    (entry,) = view.find(run_key(facts_of(runs[0]) | {"run": "seal"}))
    assert (entry.info.run_name, entry.info.status) == ("seal", "FINISHED")
    assert entry.data.tags["seed"] == "mean of 20, 21"
    metrics = entry.data.metrics
    assert metrics["final/transfer-digits-gen-02/accuracy"] == 0.5
    assert metrics["deviation/transfer-digits-gen-02/accuracy"] == pytest.approx(0.125**0.5)
    assert not [name for name in metrics if "seal-2" in name], "what one seed alone has is no mean"
    kept = project / "mlartifacts/seal" / entry.info.run_id / "artifacts"
    assert (kept / "claims/claims.json").is_file()
    assert (kept / "report/figures/smoke-accuracy.svg").read_text() == "<svg/>"

    assert view.client.get_experiment(view.experiment_id).tags["mlflow.note.content"] == "- **SEAL against LLF**"

    assert status(names) == [("seal", "unchanged")]
    write_json(CLAIMS, {"tier": "smoke", "claims": [1]})
    assert status(names) == [("seal", "written")]
    assert len(view.find(run_key(facts_of(runs[0]) | {"run": "seal"}))) == 1
    assert status(names[:1]) == [("seal", "written")], "one seed has no deviation"
    (entry,) = view.find(run_key(facts_of(runs[0]) | {"run": "seal"}))
    assert not [name for name in entry.data.metrics if name.startswith("deviation/")]


@pytest.mark.parametrize("method", ["log_batch", "set_experiment_tag"])
def test_what_mlflow_does_not_take_is_a_line(project: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("it is too long\nby far")

    write_record(RESULTS, invented_run("seal", 40))
    Path("report").mkdir(exist_ok=True)
    write_json(CLAIMS, {"tier": "smoke"})
    Path("report/findings.md").write_text(f"- by {method}")
    View(project)
    monkeypatch.setattr(MlflowClient, method, refuse)
    shown = {"log_batch": "seal", "set_experiment_tag": "report/findings.md"}[method]
    with pytest.raises(UserError, match=rf"^{shown} in mlflow\.db: it is too long; it is only a view: .*`seal sync`$"):
        sync_aggregates({"seal-40": None})


def test_an_arm_says_how_many_of_its_seeds_diverged_and_has_no_mean_of_the_others(project: Path) -> None:
    runs = [invented_run("seal_reverse", seed) for seed in (30, 31)]
    for run, diverged in zip(runs, (None, {"generation": 2, "epoch": 0, "batch": 1}), strict=True):
        write_record(RESULTS, run, diverged=diverged)
    sync_aggregates({run.name: None for run in runs})
    (entry,) = View(project).find(run_key(facts_of(runs[0]) | {"run": "seal_reverse"}))
    assert entry.data.tags["diverged"] == "1 of 2 seeds"
    assert not [name for name in entry.data.metrics if name.startswith("final/")]


@pytest.mark.parametrize(
    "changed",
    [{"tier": "mini"}, {"data_sha256": "0" * 64}, {"training": {"learning_rate": 0.5}}, {"method": "seal"}],
    ids=lambda changed: next(iter(changed)),
)
def test_runs_that_are_no_seeds_of_one_training_have_no_mean(project: Path, changed: dict[str, Any]) -> None:
    runs = [invented_run("llf", seed) for seed in (50, 51)]
    folders = [write_record(RESULTS, run) for run in runs]
    summary = read_json(folders[1] / "summary.json")
    for key, value in changed.items():
        summary[key] = summary[key] | value if isinstance(value, dict) else value
    write_json(folders[1] / "summary.json", summary)

    (outcome,) = sync_aggregates({run.name: None for run in runs})
    assert outcome.status == "no mean"
    assert "in llf-50" in outcome.reason
    assert "in llf-51" in outcome.reason
    assert not View(project).find(run_key(facts_of(runs[0]) | {"run": "llf"}))


def test_verdicts_and_report_of_another_tier_are_not_an_arms(project: Path) -> None:
    run = invented_run("seal", 60)
    write_record(RESULTS, run)
    write_json(CLAIMS, {"tier": "mini"})
    Path("report").mkdir(exist_ok=True)
    Path("report/findings.md").write_text("- of mini")

    sync_aggregates({run.name: None})
    view = View(project)
    (entry,) = view.find(run_key(facts_of(run) | {"run": "seal"}))
    assert not (project / "mlartifacts/seal" / entry.info.run_id / "artifacts/claims").exists()
    assert view.client.get_experiment(view.experiment_id).tags.get("mlflow.note.content") != "- of mini"
