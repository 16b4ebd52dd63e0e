"""The contract of every evaluation in EVALUATIONS: a new one is held to it without an edit here."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from eval.evaluation import EvaluationStage
from seal.config import Params, load_params
from seal.data.batches import Batches
from seal.data.packing import make_missing_pack
from seal.evaluations import EVALUATIONS
from seal.measure import Images, NetworkSize, Rates, cells_of, keys_of
from seal.readings import Missing, Reading
from seal.record import file_sha256, read_json
from seal.runs import RunFolder
from tests.small import contents
from tests.small_evaluations import folder_of, run_stage, write_small_params
from tests.small_project import copy_declared

ROOT = Path(__file__).parents[1]
every_evaluation = pytest.mark.parametrize("name", EVALUATIONS)


@every_evaluation
def test_twice_it_writes_the_same_and_leaves_the_run_alone(project: Path, name: str) -> None:
    write_small_params(name)
    before = contents(project / "results/normal-0")
    run_stage(name)
    first = contents(folder_of(project, name))
    run_stage(name)
    assert contents(folder_of(project, name)) == first

    after = contents(project / "results/normal-0")
    assert {path: after[path] for path in before} == before
    facts = read_json(folder_of(project, name) / "gen-01.json")
    assert (facts["evaluation"], facts["arm"], facts["seed"]) == (name, "normal", 0)
    assert facts["checkpoint_sha256"] == file_sha256(project / "results/normal-0/weights/gen-01.safetensors")
    assert facts["data_sha256"] == file_sha256(project / "data/packs/mine.safetensors")
    assert list((project / "timings").glob(f"{name}@normal-0*.csv"))


@every_evaluation
def test_a_stage_that_was_interrupted_leaves_the_last_result_and_then_gives_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_small_params(name)
    run_stage(name)
    whole = contents(folder_of(project, name))

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EvaluationStage, "write", interrupted)
        with pytest.raises(SystemExit) as ended:
            run_stage(name)
    assert ended.value.code == 130
    assert contents(folder_of(project, name)) == whole

    run_stage(name)
    assert contents(folder_of(project, name)) == whole


@every_evaluation
def test_images_are_normalised_as_the_arms_own_training_normalises_them(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_small_params(name)
    params = load_params()
    own = params.training.model_copy(update={"mean": (0.1, 0.2, 0.3)})
    run = params.find_run("normal-0").model_copy(update={"training": own})
    monkeypatch.setattr(Params, "find_run", lambda params, name: run)
    means = []

    def noted(batches: Batches, *arguments: Any, mean: Any, **others: Any) -> None:
        means.append(tuple(mean))
        begin(batches, *arguments, mean=mean, **others)

    begin = Batches.__init__
    monkeypatch.setattr(Batches, "__init__", noted)
    run_stage(name)
    assert {*means} == {own.mean}


@every_evaluation
def test_it_reads_no_result_that_dvc_does_not_know_of(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_small_params(name)
    run_stage(name)
    copy_declared(name, "normal", project, tmp_path / "alone")
    monkeypatch.chdir(tmp_path / "alone")
    run_stage(name)
    assert contents(folder_of(tmp_path / "alone", name)) == contents(folder_of(project, name))


@every_evaluation
def test_images_that_are_not_there_are_a_skip_with_the_reason(project: Path, name: str) -> None:
    write_small_params(name)
    pack = project / "data/packs/mine.safetensors"
    pack.unlink()
    make_missing_pack(pack, "mine", load_params().datasets["mine"], "put the archive into data/drop")
    run_stage(name)
    skipped = RunFolder.read(project / "results/normal-0").skipped(folder_of(project, name).name)
    assert skipped is not None
    assert (skipped.status, "put the archive into data/drop" in skipped.reason) == ("SKIPPED-DATA", True)


@every_evaluation
def test_its_measures_are_read_from_what_it_wrote(project: Path, name: str) -> None:
    write_small_params(name)
    run_stage(name)
    run, described = RunFolder.read(project / "results/normal-0"), EVALUATIONS[name]
    (file,) = run.evaluations(folder_of(project, name).name).values()
    for key, measure in described.measures.items():
        assert measure.words, key
        for cell in cells_of(measure, keys_of(file.values, measure), "mine" if described.targeted else None):
            reading = run.measured(name, measure, 1, cell)
            if isinstance(reading, Missing):
                assert measure.instead in file.values, (key, cell, reading)
                continue
            assert isinstance(reading, Reading)
            if reading.items is not None:
                assert reading.value == pytest.approx(float(np.mean(reading.items)), rel=1e-6), (key, cell)


@every_evaluation
def test_its_stage_section_and_cost_are_there(name: str) -> None:
    described = EVALUATIONS[name]
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"][name]
    assert f"python -m eval.{name} --run ${{item.arm}}-${{item.seed}}" in stage["cmd"]
    assert ("target" in stage["matrix"]) == ("--target" in stage["cmd"]) == described.targeted
    assert {"tier", "model", "training", name} <= {*stage["params"]}
    assert f"eval/{name}.py" in stage["deps"]
    target = "-${item.target}" if described.targeted else ""
    assert stage["outs"] == [f"results/${{item.arm}}-${{item.seed}}/eval/{name}{target}"]

    section = getattr(load_params(ROOT / "params.yaml"), name)
    work = described.cost(section, Images(200, 20, 100, 10), NetworkSize(1000, 500))
    assert work.time(Rates(*[100.0] * len(fields(Rates)))) > 0
    assert work.bytes > 0
