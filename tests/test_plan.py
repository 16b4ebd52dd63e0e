"""What `seal plan` says, from invented timings; and that the stages it names are those that DVC would run."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.lock import LockError
from rich.console import Console
from safetensors.numpy import save_file

from seal.config import Params, load_params
from seal.data.pack import METADATA, SPLITS
from seal.data.packing import _describe
from seal.doctor.machine import NEEDED_GB
from seal.errors import UserError
from seal.planning import plan as planning
from seal.planning.calibration import Machine, calibrate
from seal.planning.costs import FORWARD, Network, images, parts, work
from seal.planning.plan import DVC_SECONDS, Earlier, duration, plan, show, stages_of_tier
from seal.record import TIMING_COLUMNS, cpu_name, write_csv
from seal.sections import Dataset
from seal.study.dvc_repo import stages_by_run
from tests.strategies import params_with

ROOT = Path(__file__).parents[1]
MACHINE = Machine(images_per_second=100.0, gflops=10.0, start_seconds=2.0, network=Network(1000, 500))
HERE = f"{os.cpu_count()} x {cpu_name()}"


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Params:
    found = load_params(ROOT / "params/smoke.yaml")
    monkeypatch.chdir(tmp_path)  # without packs, timings and results
    return found


def timing(folder: Path, stage: str, seconds: float, rate: float | None = None, cpu: str = HERE) -> None:
    row = {"stage": stage, "seconds": seconds, "rate": rate, "cpu": cpu}
    write_csv(folder / "timings" / f"{stage}.csv", TIMING_COLUMNS, [row])


def record(folder: Path, params: Params, run: str, **changes: object) -> None:
    place = folder / "results" / run
    place.mkdir(parents=True, exist_ok=True)
    facts = {"tier": params.tier, "model": params.model.model_dump(mode="json")} | changes
    (place / "summary.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("base@0", ("base", "normal-0", None)),
        ("train_extra@seal_s0-12", ("train_extra", "seal_s0-12", None)),
        ("fewshot_affines@seal-0-isic_2018", ("fewshot_affines", "seal-0", "isic_2018")),
        ("pack@cub_200_2011", ("pack", None, "cub_200_2011")),
        ("report", ("report", None, None)),
    ],
)
def test_a_stage_name_falls_into_its_parts(stage: str, expected: tuple[str, str | None, str | None]) -> None:
    assert parts(stage) == expected


def test_training_costs_its_images(params: Params) -> None:
    assert images("mnist_5k", params) == (3500, 500, 1000)
    base, train = (work(stage, params, MACHINE.network) for stage in ("base@0", "train@normal_long-0"))
    epochs, ends = 4 * (3500 + FORWARD * 500), 2 * FORWARD * (3500 + 1000)
    assert base.images == pytest.approx(epochs + ends)
    assert train.images == pytest.approx(base.images), "its first generation of two is the shared one"
    assert work("train@seal-0", params, MACHINE.network).images > train.images, "one more phase ends"
    changed = params.model_copy(
        update={"generations": params.generations.model_copy(update={"first_ascent_generation": 1})}
    )
    assert work("train@normal_long-0", changed, MACHINE.network).images == pytest.approx(2 * base.images)


def pack(folder: Path, name: str, selection: dict[str, Any], **counts: int) -> None:
    tensors = {f"{split}/labels": np.zeros(counts.get(split, 0), np.int64) for split in SPLITS}
    metadata = {"status": "present", "provenance": {"source": name, "selection": selection}}
    (folder / "data/packs").mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / f"data/packs/{name}.safetensors", {METADATA: json.dumps(metadata)})


def test_a_pack_counts_only_where_it_holds_what_the_parameters_select(params: Params, tmp_path: Path) -> None:
    selection = _describe(params.datasets["mnist_5k"])
    pack(tmp_path, "mnist_5k", selection, train=7, val=2, test=1)
    assert images("mnist_5k", params) == (7, 2, 1)
    pack(tmp_path, "mnist_5k", selection | {"images_per_class": 3}, train=7)
    assert images("mnist_5k", params) == (3500, 500, 1000), "another tier's pack"
    (tmp_path / "data/packs/mnist_5k.safetensors").write_bytes(b"cut off")
    assert images("mnist_5k", params) == (3500, 500, 1000)


def test_archives_count_until_they_are_there(params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEAL_DATA_MIRROR", raising=False)
    by_hand = Dataset(source="chestx_ray8", image_size=64, split="official")
    changed = params.model_copy(update={"datasets": params.datasets | {"xrays": by_hand}})

    def size(name: str) -> float:
        return work(f"fetch@{name}", changed, MACHINE.network).bytes

    assert size("xrays") == pytest.approx(45e9, rel=0.01)
    assert size("mnist_5k") == 0, "it ships inside a package"
    (tmp_path / "data/archives").mkdir(parents=True)
    (tmp_path / "data/archives/images_001.tar.gz").touch()
    assert size("xrays") == pytest.approx(43e9, rel=0.01)


def test_a_source_that_there_is_not_is_one_line(params: Params) -> None:
    mnist = params.datasets["digits"].model_copy(update={"source": "mnist"})
    changed = params.model_copy(update={"datasets": params.datasets | {"mine": mnist}})
    with pytest.raises(UserError, match="source is mnist, expected one of mnist_5k"):
        work("fetch@mine", changed, MACHINE.network)


def test_times_come_from_the_cost_model_where_nothing_has_run(params: Params) -> None:
    (line,) = plan(["base@0"], lambda stage: work(stage, params, MACHINE.network), MACHINE, Earlier(params))
    cost = work("base@0", params, MACHINE.network)
    assert line.seconds == pytest.approx(cost.images / 100 + 2 + DVC_SECONDS)
    assert line.basis == "cost model"


def test_earlier_runs_with_the_same_parameters_count_and_no_others(params: Params, tmp_path: Path) -> None:
    record(tmp_path, params, "normal-0")
    record(tmp_path, params, "seal-0", tier="mini")
    timing(tmp_path, "base@0", 1.0, rate=400)
    timing(tmp_path, "train@seal-0", 1.0, rate=4000)  # of another tier
    timing(tmp_path, "train@llf-0", 1.0, rate=5000)  # whose record is gone
    timing(tmp_path, "curves", 77.0, cpu="another processor")
    timing(tmp_path, "claims", 33.0)
    earlier = Earlier(params)
    assert earlier.rates == [400]
    assert earlier.seconds("curves", None) is None
    train, claims = plan(
        ["train@llf-0", "claims"], lambda stage: work(stage, params, MACHINE.network), MACHINE, earlier
    )
    assert train.seconds == pytest.approx(work("train@llf-0", params, MACHINE.network).images / 400 + 2 + DVC_SECONDS)
    assert (train.basis, claims.basis) == ("earlier runs", "earlier runs")
    assert claims.seconds == pytest.approx(33 + 2 + DVC_SECONDS)


def test_an_evaluation_counts_only_under_its_own_protocol(params: Params, tmp_path: Path) -> None:
    record(tmp_path, params, "normal-0")
    timing(tmp_path, "transfer@normal-0-digits", 50.0)
    assert Earlier(params).seconds("transfer", "digits") is None, "no result is there"
    place = tmp_path / "results/normal-0/eval/transfer-digits"
    place.mkdir(parents=True)
    protocol = params.transfer.model_dump(mode="json")
    (place / "gen-01.json").write_text(json.dumps({"params": protocol}))
    assert Earlier(params).seconds("transfer", "digits") == 50
    (place / "gen-01.json").write_text(json.dumps({"params": protocol | {"epochs": 1}}))
    assert Earlier(params).seconds("transfer", "digits") is None


def shown(params: Params, stages: list[str], machine: Machine = MACHINE, free: float = 1e15) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        show(stages, params, machine, console, free)
    return captured.get()


def test_the_table_counts_stages_by_name_and_sums(params: Params) -> None:
    text = shown(params, ["report", "train@seal-0", "train@llf-0", "base@0"])
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}
    assert list(rows)[:5] == ["stage", "base", "train", "report", "total"]
    assert (rows["train"][0], rows["total"][0]) == ("2", "4")
    assert "OUT OF REACH" not in text
    assert "GPU" not in text
    assert "up to date" in shown(params, [])


def test_out_of_reach_by_time_and_by_disk(params: Params) -> None:
    slow = replace(MACHINE, images_per_second=0.001)
    assert "OUT OF REACH here: " in shown(params, ["base@0"], slow)
    assert "found 0.1 MB free" in shown(params, ["base@0"], free=1.0)


def test_the_paper_tier_gives_gpu_hours_with_its_assumptions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    paper = load_params("params/paper.yaml")
    stages = stages_of_tier(Path("params/paper.yaml"))
    assert {"base@2", "train_extra@seal_reverse-2", "fewshot@seal_s0-1-crop_disease", "report"} <= set(stages)
    text = shown(paper, stages, replace(MACHINE, network=Network(24_000_000, 2_000_000)))
    assert "OUT OF REACH" in text
    assert "GPU-hours. Assumed, not measured: 1,000 images/s trained" in text


def test_documents_and_the_doctor_say_of_the_paper_tier_what_the_plan_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("seal.planning.costs.PACKS", Path("nowhere"))
    monkeypatch.setattr("seal.planning.costs.locate", lambda *arguments: None)
    monkeypatch.setattr("seal.planning.costs.DOWNLOADS", Path("nowhere"))
    paper = load_params("params/paper.yaml")
    resnet_50 = Network(24_000_000, 450_560)
    works = [work(stage, paper, resnet_50) for stage in stages_of_tier(Path("params/paper.yaml"))]
    needed, text = NEEDED_GB["paper"], (ROOT / "artifact.md").read_text()
    assert needed - 5 < sum(each.bytes for each in works) / 1e9 <= needed
    assert f"| {needed} GB |" in text
    assert f"some {round(planning.gpu_hours(works), -2):,.0f} GPU-hours" in text


@pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # a library of DVC's own
def test_what_dvc_would_run_is_planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Below a stage that changed, all; beside it, none."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    stage = "  {name}: {{cmd: 'cp {dep} {out}', deps: [{dep}], outs: [{out}]}}\n"
    text = "stages:\n" + "".join(
        stage.format(name=name, dep=dep, out=out)
        for name, dep, out in (("one", "a", "b"), ("two", "b", "c"), ("other", "x", "y"))
    )
    (tmp_path / "dvc.yaml").write_text(text)
    (tmp_path / "a").write_text("1")
    (tmp_path / "x").write_text("1")
    monkeypatch.chdir(tmp_path)
    assert planning.stages_to_run() == ["one", "other", "two"]
    from dvc.repo import Repo

    with Repo() as repo:
        repo.reproduce()
    assert planning.stages_to_run() == []
    (tmp_path / "a").write_text("2")
    assert planning.stages_to_run() == ["one", "two"]


def test_a_calibration_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    params = params_with(model={"depth": 18, "width": 2, "stem": "small"})
    monkeypatch.setattr("seal.planning.calibration.SECONDS", 0.01)
    first = calibrate(params, tmp_path)
    assert first.images_per_second > 0
    assert first.network.parameters > 1000
    monkeypatch.setattr("seal.planning.calibration.measure", lambda params: pytest.fail("measured again"))
    assert calibrate(params, tmp_path) == first


def test_what_dvc_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    for ask in (planning.stages_to_run, stages_by_run):
        with pytest.raises(
            UserError, match=r"^DVC: .*is not a git repository; where .*core\.no_scm true` tells DVC so$"
        ):
            ask()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")

    def locked(repo: object) -> None:
        raise LockError("Unable to acquire lock. Most likely\nanother process")

    monkeypatch.setattr("dvc.repo.Repo.status", locked)
    with pytest.raises(UserError, match=r"^DVC: found it at work here; wait until the running `dvc`"):
        planning.stages_to_run()


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (90, "1.5 min"), (7200, "2.0 h"), (1e6, "11.6 days")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
