"""A machine that nobody has measured, for the tests of plans; and as `seal plan` finds it kept."""

import math
from pathlib import Path

import pytest

from seal.config import Params
from seal.measure import Rates
from seal.planning.calibration import calibrate
from seal.planning.machine import Machine

# Every kind of work at its own rate, so that none can stand for another.
RATES = Rates(
    trained=100.0, measured=300.0, seen=400.0, tuned=150.0, curved=40.0, searched=10.0, saved=1e8, small=1.0,
    launched=math.inf, compilers=0.5,
)  # fmt: skip
MACHINE = Machine(RATES, start_seconds=2.0)


def write_calibration(params: Params, scratch: Path) -> None:
    """Keep it as this machine, for processes of this environment's thread settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seal.planning.rates.measure", lambda params, scratch: MACHINE)
        calibrate(params, scratch)
