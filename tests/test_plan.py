"""What `seal plan` says, from invented timings; and that the stages it names are those that DVC would run."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
from dvc.lock import LockError
from rich.console import Console

from seal.config import Params
from seal.doctor.machine import NEEDED_GB
from seal.errors import UserError
from seal.measure import Rates
from seal.planning import rates
from seal.planning.calibration import calibrate
from seal.planning.committed import COLUMNS, Measured, committed_rate, read
from seal.planning.costs import work
from seal.planning.earlier import Earlier
from seal.planning.gpu_bills import Prices
from seal.planning.machine import Machine
from seal.planning.network import network_of_tier
from seal.planning.plan import DVC_SECONDS, plan, with_known_rate
from seal.planning.setting import setting_of, threads_of
from seal.planning.show import duration, show
from seal.planning.stages import stages_of_tier, stages_to_run
from seal.processor import processor, usable_cores
from seal.record import read_json, write_csv, write_json
from seal.stage_names import parts
from seal.study.dvc_repo import stages_by_run
from seal.tiers import tier_params
from seal.timings import TIMING_COLUMNS
from tests.invented_machine import MACHINE, RATES
from tests.invented_records import write_record
from tests.priced import ROOT, price
from tests.priced import params as params
from tests.strategies import params_with

HERE = processor()


@pytest.fixture(scope="module")
def stages_of_paper() -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return stages_of_tier("paper")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def timing(
    folder: Path, stage: str, seconds: float, rate: float | None = None, cpu: str = HERE, threads: int = 1
) -> None:
    row = {"stage": stage, "seconds": seconds, "rate": rate, "cpu": cpu, "threads": threads, "date": "2026-01-01"}
    write_csv(folder / "timings" / f"{stage}.csv", TIMING_COLUMNS, [row])


def record(folder: Path, params: Params, name: str, **changes: object) -> None:
    write_record(folder / "results", params.find_run(name).model_copy(update=changes))


@pytest.mark.parametrize(
    ("value", "threads"), [("3", 3), ("4,2", 4), (" 2 , 1", 2), ("0", None), ("many", None), (",2", None), ("", None)]
)
def test_threads_are_openmps(value: str, threads: int | None, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its list, of which the first are the outermost; what it calls invalid it leaves aside."""
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads_of(params.runtime) == (threads or usable_cores())
    assert threads_of(params.runtime.model_copy(update={"threads": 7})) == 7


def test_times_come_from_the_cost_model_where_nothing_has_run(params: Params) -> None:
    cost = price("base@0", params)
    (line,) = plan({"base@0": cost}, MACHINE, Earlier(params))
    seconds = 2 + cost.trained / 100 + cost.measured / 300 + cost.saved / 1e8
    assert line.seconds == pytest.approx(seconds + 2 + DVC_SECONDS)
    assert line.basis == "cost model"


def test_earlier_runs_with_the_same_parameters_count_and_no_others(params: Params, tmp_path: Path) -> None:
    record(tmp_path, params, "normal-0")
    record(tmp_path, params, "seal-0", tier="mini")
    record(tmp_path, params, "normal_long-0")
    (tmp_path / "results/normal_long-0/summary.json").write_text("{")
    timing(tmp_path, "base@0", 1.0, rate=400)
    record(tmp_path, params, "normal-1")
    timing(tmp_path, "base@1", 1.0, rate=700, threads=2)
    record(tmp_path, params, "normal-2", training=params.training.model_copy(update={"channels_last": True}))
    timing(tmp_path, "base@2", 1.0, rate=800)  # in another layout of memory
    timing(tmp_path, "train@seal-0", 1.0, rate=4000)  # of another tier
    timing(tmp_path, "train@normal_long-0", 1.0, rate=6000)  # whose record is damaged
    timing(tmp_path, "train@llf-0", 1.0, rate=5000)  # whose record is gone
    timing(tmp_path, "curves", 77.0, cpu="another processor")
    timing(tmp_path, "claims", 33.0)
    earlier = Earlier(params)
    assert earlier.rates == [400]
    assert earlier.seconds("curves", None) is None

    costs = {stage: price(stage, params) for stage in ("train@llf-0", "claims")}
    machine = with_known_rate(MACHINE, params, earlier)
    assert (machine.rates.trained, machine.rates.measured) == (400, 1200)
    train, claims = plan(costs, machine, earlier)
    assert train.seconds == pytest.approx(costs["train@llf-0"].time(machine.rates) + 2 + DVC_SECONDS)
    assert (train.basis, claims.basis) == ("earlier runs", "earlier runs")
    assert claims.seconds == pytest.approx(33 + 2 + DVC_SECONDS)


def test_rates_are_of_the_same_images(params: Params, tmp_path: Path) -> None:
    record(tmp_path, params, "normal-0")
    timing(tmp_path, "base@0", 1.0, rate=400)
    path = tmp_path / "results/normal-0/summary.json"
    summary = read_json(path) | {"provenance": {"selection": {"image_size": 28}}}
    write_json(path, summary)
    assert Earlier(params).rates == [400]

    larger = {name: data.model_copy(update={"image_size": 224}) for name, data in params.datasets.items()}
    assert Earlier(params.model_copy(update={"datasets": larger})).rates == []
    write_json(path, summary | {"data": "mine"})
    assert Earlier(params).rates == []


def test_an_evaluation_counts_only_under_its_own_protocol(params: Params, tmp_path: Path) -> None:
    record(tmp_path, params, "normal-0")
    timing(tmp_path, "transfer@normal-0-digits", 50.0)
    assert Earlier(params).seconds("transfer", "digits") is None, "no result is there"

    path = tmp_path / "results/normal-0/eval/transfer-digits/gen-01.json"
    protocol = params.transfer.model_dump(mode="json")
    write_json(path, {"params": protocol, "values": {}})
    assert Earlier(params).seconds("transfer", "digits") == 50

    write_json(path, {"params": protocol | {"epochs": 1}, "values": {}})
    assert Earlier(params).seconds("transfer", "digits") is None


@pytest.mark.parametrize("stage", ["sharpness@normal-0", "sharpness_extra@normal-0-digits", "tier@normal-0"])
def test_timings_of_an_evaluation_that_there_is_not_any_more_are_passed_over(
    params: Params, tmp_path: Path, stage: str
) -> None:
    record(tmp_path, params, "normal-0")
    timing(tmp_path, "base@0", 1.0, rate=400)
    timing(tmp_path, stage, 50.0)
    earlier = Earlier(params)
    assert earlier.rates == [400]
    assert earlier.seconds(parts(stage).name, parts(stage).dataset) is None


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
    slow = replace(MACHINE, rates=replace(RATES, trained=0.001))
    assert "OUT OF REACH here: " in shown(params, ["base@0"], slow)
    assert "found 0.1 MB free" in shown(params, ["base@0"], free=1.0)


def test_the_paper_tier_is_priced_on_gpus_too(monkeypatch: pytest.MonkeyPatch, stages_of_paper: list[str]) -> None:
    monkeypatch.chdir(ROOT)
    some = {"base@2", "train_extra@seal_reverse-2", "fewshot@seal_s0-1-crop_disease", "report"}
    assert some <= set(stages_of_paper)
    text = shown(tier_params("paper"), stages_of_paper)
    assert "OUT OF REACH" in text
    for words in ("On one GPU: counted, not measured", "Table 2 by 3 seeds", "6 us an operation", "80% of 3.35 TB/s"):
        assert words in text


def committed(params: Params, **changes: object) -> Measured:
    setting = setting_of(params)
    values = {"setting": setting, "jobs": 1, "images_per_second": 640.0, "cpu": HERE, "torch": "2.10.0"}
    return Measured(**values | {"date": "2026-11-28"} | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("was", "spoiled"),
    [
        (",torch,", ",troch,"), ("depth,", ""), (",348,", ",fast,"), (",1,348,", ",one,348,"), ("18,16", "18"),
        ("depth", "\xff"), (",float32,false,1,1,348,", ",1,348,"),
    ],
)  # fmt: skip
def test_committed_rates_that_are_none_are_one_line(tmp_path: Path, was: str, spoiled: str) -> None:
    text = (Path(__file__).parents[1] / "benchmarks/training.csv").read_text()
    path = tmp_path / "training.csv"
    path.write_text(text)
    assert len(read(path)) == len(text.splitlines()) - 1
    assert was in text
    path.write_text(text.replace(was, spoiled, 1), encoding="latin-1")
    with pytest.raises(UserError, match=rf"^{path}: .*; `git restore` brings it back"):
        read(path)


def test_a_tier_that_has_not_run_here_is_priced_by_what_was_committed_for_its_setting(
    params: Params, tmp_path: Path
) -> None:
    setting = setting_of(params)
    others = [
        committed(params, setting=replace(setting, precision="bfloat16"), images_per_second=1.0),
        committed(params, setting=replace(setting, threads=2), images_per_second=2.0),
        committed(params, cpu="another processor", images_per_second=3.0),
        committed(params, jobs=2, images_per_second=4.0),
    ]
    assert committed_rate(setting, others) is None
    assert committed_rate(setting, [*others, committed(params)]) == committed(params)

    (tmp_path / "benchmarks").mkdir()
    rows = [rate.row() for rate in [*others, committed(params)]]
    write_csv(tmp_path / "benchmarks/training.csv", COLUMNS, rows)  # this test's own folder
    assert read() == [*others, committed(params)]
    text = shown(params, ["base@0"])
    assert "float32, 1 thread. Training here: 640 images/s, by benchmarks/training.csv" in text
    assert "by a short calibration" in shown(params, ["base@0"], replace(MACHINE, device="cuda"))

    record(tmp_path, params, "normal-0")
    timing(tmp_path, "base@0", 1.0, rate=400)
    assert "Training here: 400 images/s, by earlier runs" in shown(params, ["train@llf-0"])


def test_documents_and_the_doctor_say_of_the_paper_tier_what_the_plan_says(
    monkeypatch: pytest.MonkeyPatch, stages_of_paper: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("seal.planning.counts.PACKS", Path("nowhere"))
    monkeypatch.setattr("seal.planning.costs.locate", lambda *arguments: None)
    monkeypatch.setattr("seal.planning.costs.DOWNLOADS", Path("nowhere"))
    paper = tier_params("paper")
    network = network_of_tier(paper)
    costs = {stage: work(stage, paper, network.size) for stage in stages_of_paper}

    needed_gb, text = NEEDED_GB["paper"], (ROOT / "artifact.md").read_text()
    assert needed_gb - 5 < sum(cost.bytes for cost in costs.values()) / 1e9 <= needed_gb
    assert f"| {needed_gb} GB |" in text
    on_h100, on_a100 = Prices(costs, paper, network).bill("all", stages_of_paper).hours
    assert f"{on_h100:.0f} hours of one H100, {on_a100:.0f} of one A100" in text


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
    assert stages_to_run() == ["one", "other", "two"]
    from dvc.repo import Repo

    with Repo() as repo:
        repo.reproduce()
    assert stages_to_run() == []
    (tmp_path / "a").write_text("2")
    assert stages_to_run() == ["one", "two"]


def test_a_calibration_is_measured_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    params = params_with(model={"depth": 18, "width": 2, "stem": "small", "classifier_bias": "zero"})
    monkeypatch.setattr(rates, "SECONDS", 0.01)
    first = calibrate(params, tmp_path)
    assert all(getattr(first.rates, kind.name) > 0 for kind in fields(Rates))
    monkeypatch.setattr(rates, "measure", lambda params, scratch: pytest.fail("measured again"))
    assert calibrate(params, tmp_path) == first


def test_what_dvc_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    for ask in (stages_to_run, stages_by_run):
        with pytest.raises(
            UserError, match=r"^DVC: .*is not a git repository; where .*core\.no_scm true` tells DVC so$"
        ):
            ask()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")

    def locked(repo: object) -> None:
        raise LockError("Unable to acquire lock. Most likely\nanother process")

    with monkeypatch.context() as patch:
        patch.setattr("dvc.repo.Repo.status", locked)
        with pytest.raises(UserError, match=r"^DVC: found it at work here; wait until the running `dvc`"):
            stages_to_run()

    (tmp_path / "file").touch()
    for home in ("/dev/null", "/dev/null/deeper", str(tmp_path / "file")):
        monkeypatch.setenv("HOME", home)
        for ask in (stages_to_run, stages_by_run):
            with pytest.raises(UserError, match=rf"^HOME: found {home}, which is no folder.*; set HOME to a folder$"):
                ask()
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    assert stages_to_run() == [], "what is not there yet, DVC makes"


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (90, "1.5 min"), (7200, "2.0 h"), (1e6, "11.6 days")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
