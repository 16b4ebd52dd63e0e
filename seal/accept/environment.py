"""What the acceptance ran on, and what the device can do at most: copies, products, launches."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seal.accept.bench import Bench, Result
from seal.precision import arithmetic

COPIED = 2**28  # floats: far more than any cache holds
CHAIN = 500  # tiny operations one after the other
TOLD = (
    "CUBLAS_",
    "CUDA_",
    "NVIDIA_",
    "OMP_",
    "PYTORCH_",
    "TORCH_",
)  # environment variables that change results or times


def environment(bench: Bench) -> Result:
    """Versions, the card, its driver, and its ceilings."""
    told = {name: value for name, value in sorted(os.environ.items()) if name.startswith(TOLD)}
    described: Result = {
        "python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda,
        "machine": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "environment": told, "passed": True,
    }  # fmt: skip
    if bench.on_gpu:
        described |= _card(bench)
    return described | _ceilings(bench)


def _card(bench: Bench) -> Result:
    import triton

    card = torch.cuda.get_device_properties(bench.device)
    return {
        "gpu": card.name, "memory_bytes": card.total_memory, "multiprocessors": card.multi_processor_count,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "capability": f"{card.major}.{card.minor}", "triton": triton.__version__,
        "driver": of_nvidia_smi(card, "driver_version"),
        "clocks_mhz": of_nvidia_smi(card, "clocks.max.sm"), "power_limit_w": of_nvidia_smi(card, "power.limit"),
    }  # fmt: skip


def of_nvidia_smi(card: Any, field: str) -> str:
    """What it says of the card with torch's properties `card`; empty where it is not there, or knows no such card.

    Cards have other numbers there than in torch, by CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER.
    """
    if shutil.which("nvidia-smi") is None:
        return ""
    query = ["nvidia-smi", f"--id=GPU-{card.uuid}", f"--query-gpu={field}", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _ceilings(bench: Bench) -> Result:
    ceilings: Result = {"copy_GB_s": copy_rate(bench, 2**20 if bench.tiny else COPIED)}
    for precision in ("float32", "tf32", "bfloat16", "float64"):
        ceilings[f"{precision}_TFLOP_s"] = _product_rate(bench, precision) / 1e12

    tiny = torch.zeros(64, device=bench.device)

    def chain() -> None:
        for _ in range(CHAIN):
            tiny.add_(1)

    ceilings["us_an_operation_in_a_graph"] = bench.seconds(bench.graphed(chain), 0.3) / CHAIN * 1e6
    ceilings["us_an_operation"] = bench.seconds(chain, 0.3) / CHAIN * 1e6
    return ceilings | {"rates": {"launched": 1e6 / ceilings["us_an_operation"]}}


def copy_rate(bench: Bench, floats: int) -> float:
    """GB/s of reading and writing so many floats."""
    source, target = torch.empty(floats, device=bench.device).normal_(), torch.empty(floats, device=bench.device)
    copy = bench.graphed(partial(target.copy_, source))
    return 2 * source.nbytes / bench.seconds(copy, 0.5) / 1e9


def _product_rate(bench: Bench, precision: str) -> float:
    """FLOP/s of a large matrix product; TF32 by products, which trainings leave in float32."""
    dtype = {"bfloat16": torch.bfloat16, "float64": torch.float64}.get(precision, torch.float32)
    rows = 256 if bench.tiny else 4096 if precision == "float64" else 8192
    a, b = (torch.randn(rows, rows, device=bench.device).to(dtype) for _ in range(2))

    product: Callable[[], Tensor] = partial(torch.mm, a, b)
    with arithmetic("tf32" if precision == "tf32" else "float32", products=True):
        return 2 * rows**3 / bench.seconds(product, 0.5)
