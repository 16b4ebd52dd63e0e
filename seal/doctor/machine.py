"""Checks of the machine: cores, GPU, compiler, disk, browser. `doctor.check` calls them."""

import os
import shutil
import sysconfig
from pathlib import Path

from seal.config import Params
from seal.doctor.finding import Finding
from seal.doctor.probe import Facts
from seal.processor import usable_cores

# Free disk in GB that a tier's archives, packs, weights and resume states ask for: what `seal plan` says, rounded up.
NEEDED_GB = {"smoke": 2, "mini": 5, "regime": 5, "paper": 115}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def check_threads(facts: Facts, params: Params | None) -> Finding:
    chosen = params.runtime.threads if params else None
    threads, cores = chosen or facts.get("threads"), usable_cores()
    if threads is None:
        return Finding("threads", "fail", f"{cores} cores; torch does not tell its threads", "see FAISS below")

    fact = f"{threads} threads of torch on {cores} cores"
    if threads > cores:
        return Finding("threads", "warn", fact, f"set runtime.threads to {cores}: threads that share a core slow all")
    return Finding("threads", "ok", fact, "one heavy job at a time")


def check_gpu(facts: Facts, params: Params | None) -> Finding:
    if facts.get("gpus"):
        return Finding("GPU", "ok", "; ".join(facts["gpus"]))

    fact = "; ".join(["none that torch can use", *facts.get("warnings", [])])
    if params and params.runtime.device.startswith("cuda"):
        return Finding("GPU", "fail", fact, "set runtime.device to auto or cpu, or mend the driver")

    if shutil.which("nvidia-smi"):
        advice = f"nvidia-smi is here: is the driver new enough for CUDA {facts.get('cuda')}?"
        return Finding("GPU", "warn", fact, advice)

    if params and params.tier == "paper":
        return Finding("GPU", "warn", fact, "the paper tier is meant for a GPU; `seal tier mini` runs on a CPU")
    return Finding("GPU", "ok", fact)


def check_compiler(facts: Facts, params: Params | None) -> Finding:
    """Looked up as Triton does it, which compiles what launches the signed step on a GPU: a compiler, Python.h."""
    names = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang"]
    paths = [path for name in names if (path := shutil.which(name))]
    header = python_headers() / "Python.h"

    lacking = []
    if not paths:
        lacking.append(f"no {' or '.join(names)}")
    if not header.is_file():
        lacking.append(f"no {header}")
    if not lacking:
        return Finding("C compiler", "ok", paths[0])

    fact = ", ".join(lacking)
    by_triton = params is None or params.runtime.optimizer_backend in ("auto", "triton")
    if facts.get("gpus") and by_triton:
        needs = "gcc or set CC" if not paths else "python3-dev or a Python with its headers"
        advice = f"install {needs}: Triton needs it; or set runtime.optimizer_backend to reference"
        return Finding("C compiler", "fail", fact, advice)
    return Finding("C compiler", "ok", f"{fact}; Triton on a GPU alone would need it")


def python_headers() -> Path:
    """The folder in which Triton looks for them: Debian's own scheme names one that its packages do not fill."""
    scheme = sysconfig.get_default_scheme()
    return Path(sysconfig.get_path("include", "posix_prefix" if scheme == "posix_local" else scheme))


def check_disk(params: Params | None) -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    tier = params.tier if params else "smoke"

    fact = f"{free_gb:.0f} GB free, tier {tier} asks for about {NEEDED_GB[tier]}"
    if free_gb >= NEEDED_GB[tier]:
        return Finding("disk", "ok", fact)
    return Finding("disk", "fail" if free_gb < 1 else "warn", fact, "`dvc gc -w` frees results that are not in use")


def check_chromium() -> Finding:
    for name in BROWSERS:
        if path := shutil.which(name):
            return Finding("Chromium", "ok", path)
    return Finding("Chromium", "warn", "not on the PATH", "the browser tests are left out; apt-get install chromium")
