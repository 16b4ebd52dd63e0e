"""Every test of the fused versions once more for Triton, interpreted on the CPU in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.signed_steps import INTERPRETED

MATRIX = ["test_signed_sgd.py", "test_signed_sgd_properties.py", "test_triton_step.py", "test_optim.py"]


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="this is the process of its own")
def test_triton_passes_the_matrix_of_the_fused_versions() -> None:
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(str(folder / name) for name in MATRIX)]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= 40
