"""The kernel compiled for three generations of GPU where there is none: 16 bytes at a time, and no spills."""

import re
import subprocess
from pathlib import Path

import pytest
import torch
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from seal.kernels.signed_sgd_triton import BLOCK, DTYPES, OPTIONS, VECTOR_BYTES, signed_sgd_kernel
from tests.signed_steps import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")


def ptx(dtype: torch.dtype, capability: int, scaled: bool) -> str:
    """The kernel as PTX, as it is launched on aligned tensors, with or without `grad_scale` and `found_inf`."""
    optional = "*fp32" if scaled else "constexpr"
    signature = {"tensors": "*i64", "blocks": "*i32", "numbers": "*fp64", "grad_scale": optional, "found_inf": optional}
    signature |= dict.fromkeys(("DTYPE", "ALIGNMENT", "BLOCK"), "constexpr")
    known = {"DTYPE": DTYPES[dtype], "ALIGNMENT": VECTOR_BYTES, "BLOCK": BLOCK}
    known |= {} if scaled else {"grad_scale": None, "found_inf": None}
    source = ASTSource(signed_sgd_kernel, signature, known)
    return str(triton.compile(source, target=GPUTarget("cuda", capability, 32), options=OPTIONS).asm["ptx"])


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("capability", [80, 90, 100])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_it_compiles_to_16_byte_moves_without_spills(
    dtype: torch.dtype, capability: int, scaled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    assembly = ptx(dtype, capability, scaled)
    width, bits = (4, 32) if DTYPES[dtype] is tl.float32 else (2, 64)
    assert len(re.findall(rf"ld\.global\.v{width}\.b{bits}", assembly)) >= 3
    assert len(re.findall(rf"st\.global\.v{width}\.b{bits}", assembly)) >= 2

    (tmp_path / "kernel.ptx").write_text(assembly, encoding="utf-8")
    nvidia = triton.knobs.nvidia
    assembler = (nvidia.ptxas_blackwell if capability >= 100 else nvidia.ptxas).path
    target = re.search(r"\.target (sm_\w+)", assembly)
    assert target is not None
    run = subprocess.run(
        [assembler, "-v", f"-arch={target[1]}", "kernel.ptx", "-o", "kernel.cubin"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", run.stderr) == [("0", "0")]
