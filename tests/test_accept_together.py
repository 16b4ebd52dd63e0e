"""Several trainings on one card: how many are worth it, MPS where it fails, processes that hang. Without a GPU."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seal.accept import together
from seal.accept.bench import Bench
from seal.errors import first_line

CPU = Bench(torch.device("cpu"), tiny=True)


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({"1": 10.0, "2": 18.0, "3": 19.0}, 2),
        ({"1": 10.0, "2": 10.5, "3": 30.0}, 1),
        ({"1": 9.0, "2": 15.0, "3": 20.0}, 3),
    ],
)
def test_one_more_run_on_a_card_must_be_worth_it(rates: dict[str, float], best: int) -> None:
    assert together.best_count(rates) == best


class OnGpu(Bench):
    on_gpu = True


def script(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("error", [
    RuntimeError("one of 1 processes ended\nor hung"), BrokenPipeError(32, "Broken pipe"), ValueError("of no number"),
    subprocess.CalledProcessError(1, "nvidia-cuda-mps-control"), subprocess.TimeoutExpired("quit", 60.0),
])  # fmt: skip
def test_what_fails_under_mps_leaves_the_time_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    script(tmp_path / together.CONTROL, "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))

    def rates(bench: Bench, counts: tuple[int, ...], environment: dict[str, str]) -> dict[str, float]:
        if environment:
            raise error
        return {"1": 10.0, "2": 18.0, "3": 19.0}

    monkeypatch.setattr(together, "rates_of", rates)
    figures = together.several_runs(OnGpu(torch.device("cpu"), tiny=True))
    assert figures["time_slicing"]["2"] == 18.0
    assert figures["runs_per_gpu"] == 2
    assert figures["passed"] is None
    assert figures["mps"] == {"left_out": first_line(error)}


def test_a_daemon_of_mps_that_does_not_start_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / together.CONTROL, "exit 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(together, "rates_of", lambda bench, counts, environment: {"1": 10.0})
    figures = together.several_runs(OnGpu(torch.device("cpu"), tiny=True))
    assert figures["mps"]["left_out"].endswith("returned non-zero exit status 3.")
    assert figures["runs_per_gpu"] == 1


def test_cards_are_chosen_by_the_clients_of_mps_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "told"
    script(tmp_path / together.CONTROL, f'echo "$* ${{CUDA_VISIBLE_DEVICES-all}} $CUDA_DEVICE_ORDER" >> {told}')
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    with together.mps() as environment:
        assert "CUDA_VISIBLE_DEVICES" not in environment, "each client has its own"
    assert told.read_text().splitlines() == ["-d all PCI_BUS_ID", " all PCI_BUS_ID"]


@pytest.mark.parametrize("said", ["", "echo ready; read line"])
def test_processes_that_hang_are_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """Before they are ready, or before they have a rate."""
    started = []

    class Noted(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    monkeypatch.setattr(sys, "executable", str(script(tmp_path / "python", said, "exec sleep 600")))
    monkeypatch.setattr(together, "LONGEST", 0.2)
    with pytest.raises(RuntimeError, match="one of 2 processes ended, by itself or after 0 s"):
        together.rates_of(CPU, (2,), {})
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2
