"""Checks of the installed software: versions against the lock, one CUDA stack, a FAISS that finds neighbours."""

import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from seal.doctor.finding import Finding
from seal.doctor.probe import Facts

LOCK = Path("requirements.lock")
AGAIN = "`touch requirements.lock`, then `make repro` sets the environment up again"

Installed = Mapping[str, Distribution]


def installed_packages() -> dict[str, Distribution]:
    """By normalised name, as a lock writes it (PEP 503)."""
    return {re.sub(r"[-_.]+", "-", found.name).lower(): found for found in distributions()}


def check_python() -> Finding:
    return Finding(
        "Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.prefix}"
    )


def locked_versions(lock: str) -> dict[str, str]:
    """Package to version, of the lines whose marker holds for this machine and Python."""
    from packaging.markers import Marker

    lines = re.findall(r"^([\w.-]+)==(\S+)(?: ; ([^\\\n]+))?", lock, re.MULTILINE)
    return {name: version for name, version, marker in lines if not marker or Marker(marker.strip()).evaluate()}


def check_packages(installed: Installed) -> Finding:
    if not LOCK.exists():
        return Finding("packages", "fail", f"no {LOCK} here", "run from the project's root")
    locked = locked_versions(LOCK.read_text(encoding="utf-8"))
    have = {name: installed[name].version if name in installed else "missing" for name in locked}
    # A build of torch from elsewhere adds a local part: 2.10.0+cu128.
    wrong = [
        f"{name} {have[name]}, locked {locked[name]}" for name in locked if have[name].split("+")[0] != locked[name]
    ]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        return Finding("packages", "fail", "; ".join(wrong[:4]) + more, AGAIN)
    return Finding("packages", "ok", f"{len(locked)} as locked, torch {have['torch']}")


def check_cuda_stack(facts: Facts, installed: Installed) -> Finding:
    """One CUDA major in the process: two were reported to crash or to return wrong neighbours."""
    both = [name for name in ("faiss-cpu", "faiss-gpu") if name in installed]
    if len(both) == 2:
        advice = f"they share one folder: `uv pip uninstall {' '.join(both)}`, then {AGAIN}"
        return Finding("CUDA stack", "fail", "faiss-cpu and faiss-gpu are both installed", advice)
    names = [*installed, *((installed["faiss-gpu"].requires or []) if "faiss-gpu" in installed else [])]
    majors = {match[1] for name in names if (match := re.match(r"nvidia-[a-z-]+-cu(\d+)", name))}
    if torchs := facts.get("cuda"):
        majors.add(torchs.split(".")[0])
    if len(majors) > 1:
        found = f"CUDA {' and '.join(sorted(majors))} side by side, torch's is {torchs}"
        return Finding("CUDA stack", "fail", found, AGAIN)
    return Finding("CUDA stack", "ok", f"CUDA {torchs or majors.pop()} alone" if majors else "none: builds for the CPU")


def check_faiss(facts: Facts) -> Finding:
    if "faiss" not in facts:
        return Finding("FAISS", "fail", f"the self-test ended: {facts['error']}", AGAIN)
    found = f"{facts['faiss']}, sees {facts['faiss_gpus']} GPUs"
    if wrong := [place for place, agrees in facts["neighbours"].items() if not agrees]:
        return Finding("FAISS", "fail", f"{found}; wrong neighbours on the {' and the '.join(wrong)}", AGAIN)
    if facts["faiss_gpus"] < len(facts["gpus"]):
        return Finding("FAISS", "warn", f"{found}, torch {len(facts['gpus'])}", f"faiss-gpu is missing? {AGAIN}")
    return Finding(
        "FAISS", "ok", f"{found}; neighbours equal brute force on the {' and the '.join(facts['neighbours'])}"
    )
