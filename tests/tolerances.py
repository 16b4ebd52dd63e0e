"""How far a result may be from the exact one, by dtype, with the reason."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Format:
    """A floating-point format: `unit_roundoff` u = 2^-precision, `smallest` its smallest positive number."""

    unit_roundoff: float
    smallest: float


FORMATS = {
    torch.float32: Format(2.0**-24, 2.0**-149),
    torch.float64: Format(2.0**-53, 2.0**-1074),
}

# A fused step: |p' - exact| <= 6u(|p| + lr(mu|m| + |g| + wd|p|)) + 4 smallest. In float32 each number of the group is
# rounded once, and each of d, m, p by one or two operations: the longest path, through wd*p, meets 5 roundings with
# fused multiply-add. The smallest numbers cover what underflows, where a rounding is not relative.
SIGNED_STEP_ROUNDINGS = 6
SIGNED_STEP_UNDERFLOWS = 4
