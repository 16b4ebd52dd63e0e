"""The Hessian's stage as DVC calls it."""

from pathlib import Path

import numpy as np
import pytest

from eval import curvature
from eval.hessian import main
from seal.config import load_params
from seal.record import read_json
from tests.small import SMALL_HESSIAN
from tests.small_project import write_params


def write_hessian_params(**changes: object) -> None:
    write_params(hessian=SMALL_HESSIAN | changes)


def test_the_stage_writes_its_values_and_twice_the_same(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(curvature, "DENSITY_RUNS", 2)
    monkeypatch.setattr(curvature, "DENSITY_STEPS", 6)
    write_hessian_params(spectral_density=True)
    folder = project / "results/normal-0/eval/hessian"
    written = []
    for _ in range(2):
        main(["--run", "normal-0"])
        with np.load(folder / "gen-01.npz") as file:
            arrays = dict(file)
        written.append([(folder / "gen-01.json").read_bytes(), *(arrays[name].tobytes() for name in sorted(arrays))])
    assert written[0] == written[1]
    eigenvalues, shapes = arrays["eigenvalues_lanczos"], {name: array.shape for name, array in arrays.items()}
    assert shapes["eigenvalues_lanczos"] == shapes["residuals_power"] == (2, 5)
    assert shapes["density_nodes"] == shapes["density_weights"] == (2, 6)
    record = read_json(folder / "gen-01.json")
    lanczos_values = record["values"]["lanczos"]
    assert lanczos_values["max_eigenvalue"] == pytest.approx(eigenvalues.max(), rel=1e-6)
    assert lanczos_values["negative_fraction"] == pytest.approx((eigenvalues < 0).mean(), rel=1e-6)
    assert lanczos_values["largest_residual"] <= 1e-3
    assert set(lanczos_values) - set(record["values"]["power"]) == {
        "fixed_max_eigenvalue", "fixed_residual", "fixed_products"
    }  # fmt: skip
    assert record["params"]["weight_decay"] == load_params().training.weight_decay
    assert (project / "timings/hessian@normal-0.csv").read_text().count("products") == 2


def test_a_stage_that_does_not_converge_names_the_batch(project: Path) -> None:
    write_hessian_params(first_steps=5, max_steps=5, tolerance=1e-9)
    with pytest.raises(SystemExit, match=r"error: generation 1, batch 0: after 5 Lanczos steps .*raise max_steps"):
        main(["--run", "normal-0"])
    assert not (project / "results/normal-0/eval/hessian/gen-01.json").exists()
