"""The acceptance where there is no GPU: how its sections are guarded, what they measure, and the file they leave."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from seal.accept import __main__ as acceptance
from seal.accept import evaluating, training
from seal.accept.__main__ import SECONDS, SECTIONS, Section, accept, guarded, main
from seal.accept.bench import Bench, Result
from seal.accept.environment import of_nvidia_smi
from seal.accept.subjects import numbers, run_of
from seal.captured import CapturedTrainer
from seal.clock import course_of
from seal.methods import METHODS, options_of
from seal.models import ResNet
from seal.planning.measured_gpu import MEASURED
from seal.tiers import tier_params

CPU = Bench(torch.device("cpu"), tiny=True)


def failing(bench: Bench) -> Result:
    raise ValueError("of no use")


def test_a_section_that_fails_leaves_the_others_and_the_file_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "acceptance.json"
    written: list[list[str]] = []

    def last(bench: Bench) -> Result:
        written.append([*json.loads(path.read_text())["sections"]])
        return {"passed": None, "rate": float("inf")}

    sections = {
        "good": Section(lambda bench: {"passed": True}, 1),
        "bad": Section(failing, 1),
        "long": Section(failing, 1000),
        "last": Section(last, 1),
    }
    monkeypatch.setattr(acceptance, "SECTIONS", sections)
    accept(path, CPU, [], seconds=100)
    found = json.loads(path.read_text())
    assert written == [["bad", "good", "long"]], "sorted, and written before the next begins"
    passed = {name: figures["passed"] for name, figures in found["sections"].items()}
    assert passed == {"good": True, "bad": False, "long": False, "last": None}
    assert "ValueError: of no use" in found["sections"]["bad"]["error"]
    assert found["sections"]["long"]["not_run"].endswith("needs 1000; use --only")
    assert found["sections"]["last"]["rate"] == "inf"
    assert found["passed"] is False
    assert "bad          FAILED" in capsys.readouterr().out


class Lost(Bench):
    """Of a device after an illegal memory access: all that asks for it raises, the giving back of memory too."""

    def free(self) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA")


def test_a_device_that_is_lost_leaves_the_file_and_what_other_processes_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = {"bad": Section(failing, 1), "processes": Section(lambda bench: {"passed": None, "runs_per_gpu": 2}, 1)}
    monkeypatch.setattr(acceptance, "SECTIONS", sections)
    result = accept(tmp_path / "a.json", Lost(torch.device("cpu"), tiny=True), [], seconds=100)
    assert json.loads((tmp_path / "a.json").read_text()) == result
    figures = result["sections"]
    assert "ValueError: of no use" in figures["bad"]["error"]
    assert (figures["processes"]["passed"], figures["processes"]["runs_per_gpu"]) == (None, 2)
    assert figures["processes"]["not_freed"] == "CUDA error: an illegal memory access was encountered"
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(("passed", "status"), [(True, 0), (None, 0), (False, 1)])
def test_the_exit_status_says_whether_a_section_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passed: bool | None, status: int
) -> None:
    first, second = Section(lambda bench: {"passed": passed}, 1), Section(lambda bench: {"passed": True}, 1)
    monkeypatch.setattr(acceptance, "SECTIONS", {"first": first, "second": second})
    with pytest.raises(SystemExit) as ended:
        main(["--tiny", "--out", str(tmp_path / "acceptance.json")])
    assert ended.value.code == status


def test_sections_fit_into_the_time_of_all() -> None:
    assert sum(section.seconds for section in SECTIONS.values()) <= SECONDS


@pytest.mark.parametrize("method", METHODS)
def test_any_methods_numbers_can_be_made_up(method: str) -> None:
    run = run_of(method, CPU, (18, 4))
    assert set(numbers(options_of(method), vars(run.training))) == set(vars(run.options))
    assert METHODS[method](course_of(run), run.options)


def test_a_section_gives_the_rates_that_the_plan_takes() -> None:
    for name, kind in (("hessian", "curved"), ("knn", "searched")):
        figures = guarded(SECTIONS[name], CPU, 1000)
        assert figures["passed"], figures
        assert figures["rates"][kind] > 0
        assert MEASURED[kind] == name


@pytest.fixture
def two_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "METHODS", {name: METHODS[name] for name in ("normal_long", "seal")})


def trained(losses: list[float]) -> Any:
    """What stands in for a training: its losses, and no file."""
    return lambda trainer: (losses if isinstance(trainer, CapturedTrainer) else [1.0, 0.5], 0)


@pytest.mark.usefixtures("two_methods")
@pytest.mark.parametrize(("losses", "bits", "passed"), [
    ([1.0, 0.5], True, True), ([1.0, 0.4], True, False), ([1.0, 0.5], False, False),
])  # fmt: skip
def test_methods_pass_by_their_losses_and_by_their_bits(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], bits: bool, passed: bool
) -> None:
    monkeypatch.setattr(training, "_trained", trained(losses))
    monkeypatch.setattr(training, "equal", lambda loop, graphs: bits)
    figures = training.methods(CPU)
    assert figures["passed"] is passed
    assert figures["seal"]["losses_equal"] == (losses == [1.0, 0.5])


@pytest.mark.parametrize(("elsewhere", "bits", "passed"), [(0, True, True), (1, True, False), (0, False, False)])
def test_resuming_passes_by_its_bits_and_by_where_momentum_lies(
    monkeypatch: pytest.MonkeyPatch, elsewhere: int, bits: bool, passed: bool
) -> None:
    resumed = {"bit_equal": bits, "momentum_in_another_layout": elsewhere}
    monkeypatch.setattr(training, "_resumed", lambda bench, kind, run: resumed)
    assert training.resume(CPU)["passed"] is passed


def test_a_graph_that_is_refused_where_bits_are_free_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_ms_a_step", lambda bench, trainer: 1.0)
    figures = training._of_network(CPU, (18, 4), "float32")
    assert figures["by_the_loop"] == figures["not_deterministic_by_the_loop"] == "a graph needs a GPU, found cpu"


def test_evaluations_are_measured_in_the_precision_that_the_paper_tier_gives_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tier = tier_params("paper")
    passes: list[str] = []
    steps: list[str] = []

    def noted(seen: list[str], function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            seen.append(torch.backends.cudnn.conv.fp32_precision)  # type: ignore[attr-defined]
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(ResNet, "forward", noted(passes, ResNet.forward))
    monkeypatch.setattr(evaluating, "train_heads", noted(passes, evaluating.train_heads))
    monkeypatch.setattr(evaluating, "tune", noted(steps, evaluating.tune))
    assert evaluating.fewshot(CPU)["passed"]
    assert evaluating.TUNED_IN == tier.fewshot_affines.precision == "tf32"
    sections = (tier.transfer, tier.fewshot, tier.prediction_depth)
    assert {section.precision for section in sections} == {"float32"}
    assert set(passes) == {"ieee"}
    compared = ["ieee", "ieee"]
    assert steps[:2] == compared
    assert set(steps[2:]) == {"tf32"}


@pytest.mark.slow
def test_the_script_runs_on_a_cpu_by_the_command_and_by_the_core(tmp_path: Path) -> None:
    for command in (["seal"], ["seal.accept"]):
        arguments = ["accept"] if command == ["seal"] else []
        out = tmp_path / f"{command[0]}.json"
        run = [sys.executable, "-m", *command, *arguments, "--tiny", "--only", "batches", "knn", "--out", str(out)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(out.read_text())
        assert found["passed"]
        assert [*found["sections"]] == ["batches", "knn"]
        assert "equals_float64" in found["sections"]["knn"]["torch"]
        assert found["sections"]["knn"]["faiss"].keys() & {"equals_float64", "left_out"}


def test_what_nvidia_smi_says_is_of_the_card_that_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cards as CUDA_VISIBLE_DEVICES may show them to torch: one alone, the second of two."""
    monkeypatch.setenv("PATH", str(tmp_path))
    first, second, another = (SimpleNamespace(uuid=f"{number}abc-0") for number in (1, 2, 3))
    assert of_nvidia_smi(second, "power.limit") == "", "the command is not there"

    (tmp_path / "nvidia-smi").write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        "*--id=GPU-1abc-0*power.limit*) echo 300.00 W;;\n"
        "*--id=GPU-2abc-0*power.limit*) echo 700.00 W;;\n"
        "*--id=*) echo No devices were found; exit 6;;\n"
        "*) echo 300.00 W; echo 700.00 W;;\n"
        "esac\n"
    )
    (tmp_path / "nvidia-smi").chmod(0o755)
    limits = [of_nvidia_smi(card, "power.limit") for card in (first, second, another)]
    assert limits == ["300.00 W", "700.00 W", ""]
