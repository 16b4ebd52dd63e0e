"""Checks of the machine: cores, GPU, compiler, disk, browser."""

import os
import shutil
from pathlib import Path

from seal.config import Params
from seal.doctor.finding import Finding
from seal.doctor.probe import Facts

# Free disk in GB that a tier's archives, packs, weights and resume states ask for: what `seal plan` says, rounded up.
NEEDED_GB = {"smoke": 2, "mini": 5, "paper": 115}


def usable_cores() -> int:
    """Cores that this process may use: affinity, and the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        limit, period = quota.read_text(encoding="utf-8").split()
        if limit != "max":
            cores = min(cores, max(1, int(limit) // int(period)))
    return cores


def check_threads(facts: Facts, params: Params | None) -> Finding:
    chosen = params.runtime.threads if params else None
    threads, cores = chosen or facts.get("threads"), usable_cores()
    if threads is None:
        return Finding("threads", "fail", f"{cores} cores; torch does not tell its threads", "see FAISS below")
    found = f"{threads} threads of torch on {cores} cores"
    if threads > cores:
        return Finding("threads", "warn", found, f"set runtime.threads to {cores}: threads that share a core slow all")
    return Finding("threads", "ok", found, "one heavy job at a time")


def check_gpu(facts: Facts, params: Params | None) -> Finding:
    if facts.get("gpus"):
        return Finding("GPU", "ok", "; ".join(facts["gpus"]))
    found = "; ".join(["none that torch can use", *facts.get("warnings", [])])
    if params and params.runtime.device.startswith("cuda"):
        return Finding("GPU", "fail", found, "set runtime.device to auto or cpu, or mend the driver")
    if shutil.which("nvidia-smi"):
        return Finding(
            "GPU", "warn", found, f"nvidia-smi is here: is the driver new enough for CUDA {facts.get('cuda')}?"
        )
    if params and params.tier == "paper":
        return Finding("GPU", "warn", found, "the paper tier is meant for a GPU; `seal tier mini` runs on a CPU")
    return Finding("GPU", "ok", found)


def check_compiler(params: Params | None) -> Finding:
    name = os.environ.get("CXX", "c++")
    if path := shutil.which(name):
        return Finding("C++ compiler", "ok", path)
    needed = params is not None and params.runtime.optimizer_backend == "compiled"
    advice = "install g++ or set CXX; only optimizer_backend `compiled` needs it, and Triton on a GPU a C compiler"
    return Finding("C++ compiler", "fail" if needed else "warn", f"no {name}", advice)


def check_disk(params: Params | None) -> Finding:
    free, tier = shutil.disk_usage(Path.cwd()).free / 1e9, params.tier if params else "smoke"
    found = f"{free:.0f} GB free, tier {tier} asks for about {NEEDED_GB[tier]}"
    if free >= NEEDED_GB[tier]:
        return Finding("disk", "ok", found)
    return Finding("disk", "fail" if free < 1 else "warn", found, "`dvc gc -w` frees results that are not in use")


def check_chromium() -> Finding:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Finding("Chromium", "ok", path)
    return Finding("Chromium", "warn", "not on the PATH", "the browser tests are left out; apt-get install chromium")
