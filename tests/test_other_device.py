"""Trainings and evaluations on a device that is not the CPU: nothing mixes the two, and the record is the same."""

import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from seal.config import load_params
from seal.evaluations import EVALUATIONS
from seal.methods import METHODS
from seal.train import run_stage
from tests.pretended_device import pretended_device
from tests.small import SMALL_FEWSHOT, SMALL_HESSIAN, contents, small_arm
from tests.small_project import write_params

NUMBERS = {
    "fewshot": SMALL_FEWSHOT,
    "fewshot_affines": SMALL_FEWSHOT | {"shots": [2]},
    "hessian": SMALL_HESSIAN | {"batches": 1, "fixed_batches": 1, "eigenvalues": 1, "power_steps": 2},
}


def test_what_the_device_refuses() -> None:
    """As a GPU does; else the tests below would show nothing."""
    with pretended_device() as device:
        on_device = torch.ones(2, 3).to(device)
        assert on_device.sum().item() == 6
        assert (2.0 * on_device + torch.tensor(1.0)).cpu().tolist() == [[3.0] * 3] * 2, (
            "a single number may be the CPU's"
        )
        for mixture in (
            lambda: on_device + torch.ones(2, 3),
            lambda: torch.ones(2, 2) @ on_device,
            lambda: torch.cat([on_device, torch.ones(1, 3)]),
        ):
            with pytest.raises(RuntimeError, match="tensors of the device and of the CPU"):
                mixture()
        for as_array in (np.asarray, torch.Tensor.numpy):
            with pytest.raises(RuntimeError, match="numpy"):
                as_array(on_device)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_leaves_the_cpus_record(method: str, project: Path) -> None:
    write_params(main_arms=[method], arms={method: small_arm(method)})
    run_stage(f"{method}-0", load_params())
    on_cpu = contents(project / f"results/{method}-0")
    for folder in ("results", "scratch"):
        shutil.rmtree(project / folder)

    with pretended_device():
        run_stage("normal-0", load_params())
        run_stage(f"{method}-0", load_params())
    assert contents(project / f"results/{method}-0") == on_cpu


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_leaves_the_cpus_values(name: str, project: Path) -> None:
    write_params(**NUMBERS)
    targeted = EVALUATIONS[name].targeted
    arguments = ["--run", "normal-0", *(["--target", "mine"] if targeted else [])]
    folder = project / "results/normal-0/eval" / (f"{name}-mine" if targeted else name)

    main = import_module(f"eval.{name}").main
    main(arguments)
    on_cpu = contents(folder)
    shutil.rmtree(folder)
    with pretended_device():
        main(arguments)
    assert "gen-01.json" in on_cpu
    assert contents(folder) == on_cpu
