"""What the commands import: a person who asks what a claim says should not wait for torch."""

import os
import subprocess
import sys
from pathlib import Path

from seal.tiers import tier_params
from tests.invented_machine import write_calibration

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "torchvision", "triton", "faiss", "mlflow", "matplotlib", "sklearn", "pandas", "scipy.stats"}
# Runs a command as a person would, and names the modules that are there at its end.
RUN = """if True:
    import sys
    from seal.__main__ import main
    sys.argv[0] = "seal"
    try:
        main()
    finally:
        print("modules:", *sys.modules)
"""


def modules_of(*command: str, scratch: Path) -> set[str]:
    """All that are imported once the command has ended well."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SEAL_SCRATCH": str(scratch)}
    script = [sys.executable, "-c", RUN, *command]
    done = subprocess.run(script, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {*done.stdout.splitlines()[-1].removeprefix("modules:").split()}


def test_help_imports_none_of_what_commands_need(tmp_path: Path) -> None:
    modules = modules_of("--help", scratch=tmp_path)
    assert "typer" in modules
    assert not modules & (HEAVY | {"dvc", "numpy", "pydantic", "rich", "scipy", "yaml"})


def test_claims_import_nothing_heavy(tmp_path: Path) -> None:
    modules = modules_of("claims", "--record", "expected/mini", scratch=tmp_path)
    assert "eval.claims.verdicts" in modules
    assert not modules & (HEAVY | {"dvc", "networkx"})


def test_a_plan_imports_nothing_heavy_once_the_machine_is_measured(tmp_path: Path) -> None:
    write_calibration(tier_params("smoke", folder=ROOT / "params"), tmp_path)
    modules = modules_of("plan", "--tier", "smoke", scratch=tmp_path)
    assert "dvc.repo" in modules
    assert not modules & HEAVY
