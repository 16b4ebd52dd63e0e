"""The doctor: each finding from invented surroundings, and the real self-tests on this machine."""

import errno
import importlib.metadata
import os
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import importlib_metadata
import pytest

from seal import doctor
from seal.config import Params
from seal.doctor import machine, project, software, speed
from seal.doctor.finding import Finding, render
from seal.doctor.probe import probed
from seal.tiers import tier_params

ROOT = Path(__file__).parents[1]
GPU = "NVIDIA H200, 139 GiB, compute capability 9.0"
TORCH = {"threads": 2, "cuda": "12.8", "gpus": [], "warnings": [], "error": ""}
FAISS = {"faiss": "1.15.1", "faiss_gpus": 0, "neighbours": {"CPU": True}}


def package(version: str = "1", requires: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(version=version, requires=list(requires))


def params_with(tier: str = "smoke", **runtime: Any) -> Params:
    params = tier_params("smoke", folder=ROOT / "params")
    return params.model_copy(update={"tier": tier, "runtime": params.runtime.model_copy(update=runtime)})


@pytest.fixture
def no_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH that finds only what a test puts into this folder."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    return folder


def command(folder: Path, name: str, text: str = "") -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_this_environment_passes_its_self_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(doctor, "check_speed", lambda params: speed.check_speed(None))  # tests of `speed` time it
    findings = {finding.name: finding for finding in doctor.check()}
    for name in ("Python", "packages", "CUDA stack", "FAISS"):
        assert findings[name].status == "ok", findings[name]
    assert "neighbours equal brute force on the CPU" in findings["FAISS"].fact
    assert findings["threads"].fact.endswith(f"on {machine.usable_cores()} cores")


def test_an_empty_folder_is_findings_and_not_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "probed", lambda: TORCH | FAISS)

    def broken() -> Finding:
        raise OSError("no such thing")

    monkeypatch.setattr(doctor, "check_mirror", broken)
    findings = {finding.name: finding for finding in doctor.check()}
    assert {name for name, finding in findings.items() if finding.status == "fail"} == {
        "params.yaml", "packages", "DVC", "data mirror",
    }  # fmt: skip
    assert findings["data mirror"].fact == "the check itself broke: OSError('no such thing')"
    assert findings["datasets"].status == "warn"
    assert all(
        finding.advice for finding in findings.values() if finding.status == "fail" and finding.name != "data mirror"
    )


def test_a_process_that_crashes_leaves_what_it_had_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    crashing = command(tmp_path, "python", """echo '{"threads": 2, "cuda": "12.8", "gpus": []}'; kill -SEGV $$""")
    monkeypatch.setattr(sys, "executable", str(crashing))
    facts = probed()
    assert facts == {"threads": 2, "cuda": "12.8", "gpus": [], "error": "status -11"}
    finding = software.check_faiss(facts)
    assert (finding.status, finding.fact) == ("fail", "the self-test ended: status -11")
    command(tmp_path, "python", "echo Traceback >&2; echo ModuleNotFoundError: torch >&2; exit 1")
    facts = probed()
    assert facts["error"] == "ModuleNotFoundError: torch"
    assert machine.check_threads(facts, None).status == "fail"
    assert software.check_cuda_stack(facts, {}).status == "ok"


def test_what_a_library_says_beside_the_facts_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = ("Loading faiss", "", "3", "[3]", '"x"', "null", '{"threads": 2}', '{"faiss": ', '{"faiss": "1"}')
    said = tmp_path / "said"
    said.write_text("\n".join(lines))
    monkeypatch.setattr(sys, "executable", str(command(tmp_path, "python", f"cat {said}")))
    assert probed() == {"threads": 2, "faiss": "1", "gpus": [], "error": "status 0"}


@pytest.mark.parametrize("number", [errno.ELOOP, errno.EACCES, errno.EIO])
def test_parameters_that_cannot_be_read_are_a_finding(
    number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "probed", lambda: TORCH | FAISS)
    if number == errno.ELOOP:
        Path("params.yaml").symlink_to("params.yaml")
    else:  # root may read all

        def fails(*arguments: Any) -> Params:
            raise OSError(number, os.strerror(number), "params.yaml")

        monkeypatch.setattr(doctor, "load_params", fails)

    (finding,) = (finding for finding in doctor.check() if finding.name == "params.yaml")
    assert finding.status == "fail"
    assert os.strerror(number) in finding.fact
    assert "`seal tier smoke`" in finding.advice


def test_packages_are_compared_with_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    numpy, faiss = ('numpy==2.4 ; python_full_version < "3"', 'faiss-gpu==1.15.1 ; python_full_version >= "3"')
    lines = [f"{line} \\\n    --hash=sha256:00\n    # via x\n" for line in ("torch==2.10.0", numpy, faiss)]
    Path("requirements.lock").write_text("".join(lines))
    assert software.locked_versions(Path("requirements.lock").read_text()) == {"torch": "2.10.0", "faiss-gpu": "1.15.1"}
    right = {"torch": package("2.10.0+cu128"), "faiss-gpu": package("1.15.1"), "other": package("9")}
    assert software.check_packages(right) == Finding("packages", "ok", "2 as locked, torch 2.10.0+cu128")
    wrong = software.check_packages({"torch": package("2.11.0")})
    assert (wrong.status, wrong.fact) == ("fail", "torch 2.11.0, locked 2.10.0; faiss-gpu missing, locked 1.15.1")


@pytest.mark.parametrize("reader", [importlib.metadata, importlib_metadata])  # MLflow brings the second
def test_a_package_that_pip_has_left_half_is_none(reader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foo-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(software, "distributions", lambda: reader.MetadataPathFinder.find_distributions())
    installed = software.installed_packages()
    assert "torch" in installed
    assert "foo" not in installed


def test_rates_of_nothing_are_no_advice() -> None:
    finding = speed.judged(params_with(), [0, 0, 0, 0], threads=1)
    assert (finding.status, finding.advice) == (
        "warn",
        "0: no step ended in the time that it had; see what else is at work here",
    )


def test_the_projects_lock_asks_for_one_faiss() -> None:
    locked = software.locked_versions((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    assert locked["torch"] == "2.10.0"
    assert len({"faiss-gpu", "faiss-cpu"} & set(locked)) == 1


@pytest.mark.parametrize(
    ("cuda", "installed", "status", "words"),
    [
        ("12.8", {"faiss-gpu": package(requires=("nvidia-cublas-cu12<13,>=12.6",))}, "ok", "CUDA 12.8 alone"),
        (None, {"faiss-cpu": package()}, "ok", "none: builds for the CPU"),
        ("12.8", {"faiss-gpu": package(), "faiss-cpu": package()}, "fail", "both installed"),
        (
            "13.0",
            {"faiss-gpu": package(requires=("numpy", "nvidia-cublas-cu12<13"))},
            "fail",
            "CUDA 12 and 13 side by side",
        ),
        ("12.8", {"nvidia-cuda-runtime-cu12": package(), "nvidia-nccl-cu13": package()}, "fail", "CUDA 12 and 13"),
    ],
)
def test_one_cuda_stack(cuda: str | None, installed: dict[str, Any], status: str, words: str) -> None:
    finding = software.check_cuda_stack(TORCH | {"cuda": cuda}, installed)
    assert finding.status == status
    assert words in finding.fact


def test_threads_share_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    assert machine.check_threads(TORCH, None) == Finding(
        "threads", "ok", "2 threads of torch on 2 cores", "one heavy job at a time"
    )
    assert machine.check_threads(TORCH | {"threads": 4}, None).status == "warn"
    assert machine.check_threads(TORCH, params_with(threads=8)).advice.startswith("set runtime.threads to 2")


@pytest.mark.parametrize(
    ("facts", "params", "smi", "status"),
    [
        ({"gpus": [GPU]}, params_with("paper"), True, "ok"),
        ({}, params_with(), False, "ok"),
        ({}, params_with("paper"), False, "warn"),
        ({}, params_with(device="cuda:1"), False, "fail"),
        ({"warnings": ["CUDA initialization: driver too old"]}, params_with(), True, "warn"),
    ],
)
def test_gpu(no_commands: Path, facts: dict[str, Any], params: Params, smi: bool, status: str) -> None:
    if smi:
        command(no_commands, "nvidia-smi")
    finding = machine.check_gpu(TORCH | facts, params)
    assert finding.status == status
    assert finding.fact == GPU or finding.fact.startswith("none that torch can use")
    assert all(warning in finding.fact for warning in facts.get("warnings", []))


@pytest.mark.parametrize(
    ("rates", "set_to", "advice"),
    [
        (
            [339, 606, 679, 939],
            ("float32", False),
            "2.8 times as fast: `precision: bfloat16` and `channels_last: true`",
        ),
        ([339, 606, 100, 120], ("float32", False), "1.8 times as fast: `channels_last: true` under training in params"),
        ([339, 606, 679, 939], ("bfloat16", False), "1.4 times as fast: `channels_last: true` under training"),
        ([500, 300, 60, 50], ("bfloat16", True), "10.0 times as fast: `precision: float32` and `channels_last: false`"),
        ([339, 400, 60, 50], ("float32", False), ""),
        ([339, 606, 679, 939], ("bfloat16", True), ""),
    ],
)
def test_another_setting_is_named_where_it_is_worth_it(
    rates: list[float], set_to: tuple[str, bool], advice: str
) -> None:
    training = params_with().training.model_copy(update={"precision": set_to[0], "channels_last": set_to[1]})
    finding = speed.judged(params_with().model_copy(update={"training": training}), rates, threads=1)
    assert finding.status == "ok", "a slow tier is whole"
    assert finding.fact.startswith(f"float32 {rates[0]}; float32, channels_last {rates[1]}; bfloat16 {rates[2]}")
    assert finding.advice.startswith(advice)
    assert bool(finding.advice) == bool(advice)
    if advice:
        assert "all is trained anew, to other bits" in finding.advice
        same_precision = "precision" not in advice
        assert ("Sums round in another order" in finding.advice) == same_precision
        assert ("Products keep 8 bits instead of 24" in finding.advice) == ("precision: bfloat16" in advice)


def test_settings_are_timed_in_a_process_that_may_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert speed.check_speed(None).status == "warn"
    assert speed.check_speed(params_with("paper")).fact.startswith("not timed")

    rates = """echo a warning; echo '{"rates": [100, 130, 10, 20], "threads": 2}'"""
    monkeypatch.setattr(sys, "executable", str(command(tmp_path, "python", rates)))
    finding = speed.check_speed(params_with())
    assert finding.fact.endswith("images/s by 2 threads. Set: float32")
    assert finding.advice.startswith("1.3 times as fast: `channels_last: true`")

    command(tmp_path, "python", "echo RuntimeError: no memory >&2; exit 1")
    finding = speed.check_speed(params_with())
    assert (finding.status, finding.fact) == ("fail", "a few steps of training ended: RuntimeError: no memory")


def test_faiss_must_find_the_neighbours_and_the_gpus() -> None:
    assert software.check_faiss(TORCH | FAISS).status == "ok"
    wrong = TORCH | FAISS | {"gpus": [GPU], "faiss_gpus": 1, "neighbours": {"CPU": True, "GPU": False}}
    assert software.check_faiss(wrong).fact.endswith("wrong neighbours on the GPU")
    assert software.check_faiss(wrong).status == "fail"
    assert software.check_faiss(TORCH | FAISS | {"gpus": [GPU]}).status == "warn"


def test_a_compiler_and_pythons_headers_are_needed_by_triton_on_a_gpu_alone(
    no_commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.sysconfig, "get_path", lambda name, scheme: str(tmp_path / scheme))
    monkeypatch.setattr(machine.sysconfig, "get_default_scheme", lambda: "posix_local")
    header = tmp_path / "posix_prefix/Python.h"
    on_gpu = TORCH | {"gpus": [GPU]}

    def stands(fact: str, words: str) -> None:
        for params in (None, params_with()):
            finding = machine.check_compiler(on_gpu, params)
            assert (finding.status, finding.fact) == ("fail", fact)
            assert finding.advice.startswith(f"install {words}")
        without_triton = machine.check_compiler(on_gpu, params_with(optimizer_backend="reference"))
        assert without_triton == machine.check_compiler(TORCH, params_with())
        assert without_triton == Finding("C compiler", "ok", f"{fact}; Triton on a GPU alone would need it")

    stands(f"no gcc or clang, no {header}", "gcc or set CC")
    compiler = command(no_commands, "gcc")
    stands(f"no {header}", "python3-dev")

    header.parent.mkdir()
    header.touch()
    assert machine.check_compiler(on_gpu, None) == Finding("C compiler", "ok", str(compiler))
    monkeypatch.setenv("CC", "another")
    stands("no another", "gcc or set CC")


def test_a_browser_is_looked_up_on_the_path(no_commands: Path) -> None:
    assert machine.check_chromium().status == "warn"
    browser = command(no_commands, "chromium")
    assert machine.check_chromium() == Finding("Chromium", "ok", str(browser))


def test_disk_is_measured_against_the_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, tier, status in ((9e9, "mini", "ok"), (9e9, "paper", "warn"), (5e8, "smoke", "fail")):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert machine.check_disk(params_with(tier)).status == status


def test_mirror_says_which_sources_it_holds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SEAL_DATA_MIRROR", raising=False)
    assert project.check_mirror().status == "ok"
    monkeypatch.setenv("SEAL_DATA_MIRROR", str(tmp_path / "nowhere"))
    assert project.check_mirror().status == "fail"
    monkeypatch.setenv("SEAL_DATA_MIRROR", str(tmp_path))
    assert project.check_mirror().status == "warn"
    assert "tiny-imagenet-200.tar" in project.check_mirror().advice
    (tmp_path / "EuroSAT.tar").touch()
    assert project.check_mirror().fact == f"{tmp_path} holds eurosat"


def test_datasets_say_what_is_still_to_come(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEAL_DATA_MIRROR", raising=False)
    params = params_with()
    assert project.check_datasets(params).fact == f"here: {', '.join(params.datasets)}"
    tiny = params.datasets["mnist_5k"].model_copy(update={"source": "tiny_imagenet"})
    folder = tiny.model_copy(update={"source": "folder", "path": "mine"})
    finding = project.check_datasets(params.model_copy(update={"datasets": {"tiny": tiny}}))
    assert (finding.status, finding.fact) == ("ok", "not yet: tiny (downloads about 248 MB)")
    finding = project.check_datasets(params.model_copy(update={"datasets": {"mine": folder}}))
    assert (finding.status, finding.fact) == ("warn", "not yet: mine (by hand)")


def test_dvc_needs_its_folder_git_and_this_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_commands: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    command(no_commands, "dvc")
    monkeypatch.setattr(sys, "executable", str(no_commands / "python"))
    assert project.check_dvc().fact == "no .dvc here"
    Path(".dvc").mkdir()
    assert project.check_dvc().advice == "`dvc config --local core.no_scm true`"
    Path(".dvc/config.local").write_text("[core]\n    no_scm = true\n")
    assert project.check_dvc().fact.startswith("`python` on the PATH is missing")
    command(no_commands, "python")
    assert project.check_dvc() == Finding("DVC", "ok", str(no_commands / "dvc"))


def test_mlflows_database_must_be_writable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert project.check_mlflow().status == "ok"
    assert not Path("mlflow.db").exists()
    Path("mlflow.db").write_bytes(b"no database " * 1000)
    assert project.check_mlflow().fact == "mlflow.db: file is not a database"
    Path("mlflow.db").unlink()
    sqlite3.connect("mlflow.db").close()
    assert project.check_mlflow().status == "ok"


def test_the_table_shows_every_word(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    render([Finding("disk", "warn", "9 GB [free]", "free some"), Finding("GPU", "ok", "none")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["disk", "warn", "9", "GB", "[free]", "free", "some"],
        ["GPU", "ok", "none"],
    ]
