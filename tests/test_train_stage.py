"""The stage as DVC calls it: from params.yaml and a folder of images to results/<run>/."""

import math
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from seal import curves
from seal.checkpoint import State
from seal.config import load_params
from seal.data.pack import PACKS, open_pack
from seal.errors import UserError
from seal.methods import METHODS, paper
from seal.objective import Objective
from seal.record import HISTORY_COLUMNS, file_sha256, read_history, read_json
from seal.resume import starting_state
from seal.sections import BASE_KEYS
from seal.train import CODE, main, run_stage
from seal.trainer import Trainer
from seal.training_data import make_data
from tests.small import CPU, TRAINING, contents, small_arm
from tests.small_project import ARMS, copy_declared, write_params

ROOT = Path(__file__).parents[1]


def test_an_arms_training_reads_no_result_that_dvc_does_not_know_of(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["--run", "seal-0"])
    copy_declared("train", "seal", project, tmp_path / "alone")
    monkeypatch.chdir(tmp_path / "alone")
    main(["--run", "seal-0"])
    assert contents(Path("results/seal-0/weights")) == contents(project / "results/seal-0/weights")


def test_the_record_of_a_run_is_whole(project: Path) -> None:
    main(["--run", "seal-0"])
    rows = read_history(project / "results/seal-0/history.csv")
    assert tuple(rows[0]) == HISTORY_COLUMNS
    assert [row["global_epoch"] for row in rows] == list(range(6))
    assert [row["phase"] for row in rows] == ["descent"] * 3 + ["ascent"] + ["descent"] * 2
    assert [row["sign_early"] for row in rows] == [1, 1, 1, -1, 1, 1]
    assert {row["sign_late"] for row in rows} == {1}
    assert rows[3]["lr_early"] == pytest.approx(0.5 * rows[3]["lr_late"])
    assert [row["clean_accuracy"] is not None for row in rows] == [False, False, True, True, False, True]
    summary = read_json(project / "results/seal-0/summary.json")
    assert summary["final"] == summary["outcomes"][-1]
    assert [outcome["generation"] for outcome in summary["outcomes"]] == [1, 2]
    assert summary["provenance"]["source"] == "folder"
    assert summary["data_sha256"] == file_sha256(project / "data/packs/mine.safetensors")
    assert summary["diverged"] is None
    for generation, outcome in enumerate(summary["outcomes"], start=1):
        correct = np.load(project / f"results/seal-0/predictions/gen-{generation:02d}.npz")["correct"]
        assert correct.dtype == np.uint8
        assert correct.mean() == pytest.approx(outcome["test_accuracy"])
        assert outcome["best"]["val_accuracy"] == max(row["val_accuracy"] for row in rows[: 3 * generation])
    timing = (project / "timings/train@seal-0.csv").read_text()
    assert "reference" in timing
    assert str(project) not in (project / "results/seal-0/summary.json").read_text(), "no machine path in the record"


def test_arms_with_a_plain_generation_1_share_its_file_and_others_do_not(project: Path) -> None:
    def first(run: str) -> str:
        return file_sha256(project / f"results/{run}/weights/gen-01.safetensors")

    write_params(generations={"kept_generations": [1, 2]})
    for arm in ("seal", "llf", "normal_long_cosine", "ascends_at_once", "faster"):
        run_stage(f"{arm}-0", load_params())
    shared = first("normal-0")
    assert first("seal-0") == first("llf-0") == shared
    rows = read_history(project / "results/normal-0/history.csv")
    assert read_history(project / "results/seal-0/history.csv")[:3] == rows
    for arm in ("normal_long_cosine", "ascends_at_once", "faster"):
        assert first(f"{arm}-0") != shared


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_end_to_end_from_the_shared_generation_1_or_its_own(project: Path, method: str) -> None:
    arms = {method: small_arm(method)}
    write_params(arms=arms, main_arms=[], sensitivity_arms=[method], generations={"kept_generations": [1, 2]})
    run_stage(f"{method}-0", load_params())

    summary = read_json(project / f"results/{method}-0/summary.json")
    assert [outcome["generation"] for outcome in summary["outcomes"]] == [1, 2]
    assert summary["options"] == {name: value for name, value in arms[method].items() if name in summary["options"]}
    first = file_sha256(project / f"results/{method}-0/weights/gen-01.safetensors")
    shared = file_sha256(project / "results/normal-0/weights/gen-01.safetensors")
    assert (first == shared) == (method != "sagd"), "whose chance follows the losses of generation 1 already"
    moved = "moved_late" in summary["final"]
    assert moved == (method not in paper.METHODS)


def test_a_run_starts_from_the_weights_of_the_base_and_its_momentum(project: Path) -> None:
    write_params(generations={"reset_momentum": False})
    handover = load_file(project / "results/normal-0/handover.safetensors")
    weights = load_file(project / "results/normal-0/weights/gen-01.safetensors")
    assert all(torch.equal(handover[f"model/{name}"], value) for name, value in weights.items())
    assert any(value.any() for name, value in handover.items() if name.startswith("momentum/"))
    params = load_params()
    run, base = params.find_run("seal-0"), params.base_of("seal-0")
    pack = open_pack(PACKS / "mine.safetensors")
    trainer = Trainer(run, make_data(run, pack, CPU), CPU, "reference")
    folder = project / "scratch/of-a-test"
    folder.mkdir(parents=True)
    starting_state(run, base, trainer, folder, pack.sha256).put(trainer.model, trainer.optimizer, trainer.names)
    now = State()
    now.take(trainer.model, trainer.optimizer, trainer.names)
    for group, found in (("model", now.model), ("momentum", now.momentum)):
        expected = {name: value for name, value in handover.items() if name.startswith(f"{group}/")}
        assert {f"{group}/{name}" for name in found} == set(expected)
        assert all(torch.equal(value, expected[f"{group}/{name}"]) for name, value in found.items()), group


def test_raising_and_lowering_the_number_of_generations_keeps_what_is_there(project: Path, capfd: Any) -> None:
    run_stage("seal-0", load_params())
    two = (project / "results/seal-0/history.csv").read_text()
    capfd.readouterr()
    write_params(generations={"num_generations": 3})
    run_stage("seal-0", load_params())
    printed = capfd.readouterr().err
    assert "generation 3/3" in printed
    assert "generation 2/3" not in printed
    assert (project / "results/seal-0/history.csv").read_text().startswith(two)
    write_params(generations={"num_generations": 2})
    run_stage("seal-0", load_params())
    assert "epoch" not in capfd.readouterr().err, "nothing was trained"
    assert (project / "results/seal-0/history.csv").read_text() == two
    assert sorted(path.name for path in (project / "results/seal-0/weights").iterdir()) == ["gen-02.safetensors"]


class Chosen(Exception):
    """Of the trainer that a stage would train by."""


@pytest.mark.parametrize(
    ("device", "capture", "chosen"),
    [("cuda", "auto", "CapturedTrainer"), ("cuda", "off", "Trainer"), ("cpu", "auto", "Trainer")],
)
def test_steps_are_captured_on_a_gpu_unless_capture_is_off(
    project: Path, monkeypatch: pytest.MonkeyPatch, device: str, capture: str, chosen: str
) -> None:
    for kind in ("CapturedTrainer", "Trainer"):
        monkeypatch.setattr(f"seal.train.{kind}", Mock(side_effect=Chosen(kind)))
    monkeypatch.setattr("seal.train.torch_device", lambda runtime: torch.device(device))
    for there_alone in ("require_memory", "make_data"):
        monkeypatch.setattr(f"seal.train.{there_alone}", lambda *_: None)
    write_params(runtime={"capture": capture})
    with pytest.raises(Chosen, match=f"^{chosen}$"):
        run_stage("seal-0", load_params())


@pytest.mark.parametrize(("minutes", "written"), [(0, 1), (1e6, 0)])
def test_resume_states_are_as_many_minutes_apart_as_the_parameters_say(
    project: Path, monkeypatch: pytest.MonkeyPatch, minutes: float, written: int
) -> None:
    """Seen where a training is interrupted after its first epoch."""
    monkeypatch.setattr("seal.train.TrainingProgress.on_epoch", Mock(side_effect=KeyboardInterrupt))
    write_params(runtime={"resume_every_epochs": 1, "resume_every_minutes": minutes})
    with pytest.raises(KeyboardInterrupt):
        run_stage("seal-0", load_params())
    assert len([*Path("scratch").glob("seal-0-*/state.safetensors")]) == written


def test_another_parameter_does_not_go_on_from_this_ones_state(project: Path) -> None:
    run_stage("seal-0", load_params())
    write_params(arms=ARMS | {"seal": small_arm("seal", ascent_lr_scale=0.25)})
    run_stage("seal-0", load_params())
    assert len(list((project / "scratch").glob("seal-0-*"))) == 2


def test_a_divergence_stops_with_advice_and_keeps_the_history(project: Path) -> None:
    with pytest.raises(
        UserError, match=r"diverges-0: the training loss is not finite in generation 2.*on_divergence: record"
    ):
        run_stage("diverges-0", load_params())
    assert not (project / "results/diverges-0").exists()
    kept = list((project / "scratch").glob("diverges-0-*/history.csv"))
    assert len(read_history(kept[0])) == 3


def test_a_divergence_that_is_asked_for_is_a_result(project: Path) -> None:
    run_stage("recorded-0", load_params())
    summary = read_json(project / "results/recorded-0/summary.json")
    assert summary["diverged"]["generation"] == 2
    assert [outcome["generation"] for outcome in summary["outcomes"]] == [1]
    before = load_file(project / "results/recorded-0/weights/before-divergence.safetensors")
    first = load_file(project / "results/normal-0/weights/gen-01.safetensors")
    assert all(torch.equal(before[name], first[name]) for name in first)
    assert read_json(project / "results/recorded-0/metrics.json") == {"diverged_in_generation": 2}


@pytest.mark.parametrize("arm", ["seal", "keeps"])
def test_a_loss_measured_at_a_generations_end_that_is_not_finite_is_a_divergence(
    project: Path, monkeypatch: pytest.MonkeyPatch, arm: str
) -> None:
    write_params(arms=ARMS | {"keeps": small_arm("seal", on_divergence="record")}, main_arms=[arm])
    measure, calls = Objective.measure, []

    def overflowing(*arguments: Any) -> Any:
        loss, right = measure(*arguments)
        calls.append(loss)
        return math.inf, right

    monkeypatch.setattr(Objective, "measure", overflowing)
    if arm == "seal":
        with pytest.raises(
            UserError, match=r"seal-0: a loss or a weight at the end of generation 2 is not finite\. Try"
        ):
            run_stage("seal-0", load_params())
        assert calls
        assert not (project / "results/seal-0").exists()
        return
    run_stage("keeps-0", load_params())
    summary = read_json(project / "results/keeps-0/summary.json")
    assert summary["diverged"] == {"generation": 2, "epoch": 2}
    assert [outcome["generation"] for outcome in summary["outcomes"]] == [1]
    assert len(read_history(project / "results/keeps-0/history.csv")) == 6
    before = load_file(project / "results/keeps-0/weights/before-divergence.safetensors")
    assert before.keys() == load_file(project / "results/normal-0/weights/gen-01.safetensors").keys()


def test_a_training_ends_with_the_generation_whose_end_is_not_finite(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Though its steps' losses are finite, and so would be those of the generations that were left."""
    write_params(arms=ARMS | {"seal": small_arm("seal", on_divergence="record")}, generations={"num_generations": 4})
    measure = Objective.measure
    monkeypatch.setattr(Objective, "measure", lambda *arguments: (math.nan, measure(*arguments)[1]))
    run_stage("seal-0", load_params())
    printed = capfd.readouterr().err
    assert "generation 2/4  epoch 3/3" in printed, "the last row is told too"
    assert "generation 3/4" not in printed
    assert read_json(project / "results/seal-0/summary.json")["diverged"] == {"generation": 2, "epoch": 2}
    first = load_file(project / "results/normal-0/weights/gen-01.safetensors")
    before = load_file(project / "results/seal-0/weights/before-divergence.safetensors")
    assert all(torch.equal(before[name], first[name]) for name in first)


def test_the_curves_stage_gathers_histories_and_notes_its_time(project: Path) -> None:
    write_params(main_arms=[])
    curves.main()
    assert (project / "curves/history.csv").read_text().count("\nnormal-0,") == TRAINING["epochs_per_generation"]
    assert (project / "timings/curves.csv").read_text().splitlines()[1].startswith("curves,")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"training": {"batch_size": 5}}, "leaves a last batch of one of 16 images"),
        (
            {"datasets": {"mine": {"source": "folder", "path": "images", "image_size": 8, "split": "official"}}},
            "pack@mine",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_said_before_any_work(project: Path, section: dict[str, Any], words: str) -> None:
    write_params(**section)
    if "datasets" in section:
        (project / "data/packs/mine.safetensors").unlink()
    with pytest.raises(UserError, match=words):
        run_stage("seal-0", load_params())
    assert not (project / "results/seal-0").exists()


def test_the_code_that_keys_a_resume_state_is_what_dvc_watches() -> None:
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    for name in ("base", "train", "train_extra", "train_sensitivity"):
        assert [dep for dep in stages[name]["deps"] if dep.startswith("seal/")] == CODE
    assert [f"generations.{key}" for key in BASE_KEYS] == [
        p for p in stages["base"]["params"] if p.startswith("generations.")
    ]
