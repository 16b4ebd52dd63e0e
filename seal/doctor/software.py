"""Checks of the installed software: versions against the lock, one CUDA stack, a FAISS that finds neighbours.

`doctor.check` calls them.
"""

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
NAMED_AT_MOST = 4  # packages of another version

Installed = Mapping[str, Distribution]


def installed_packages() -> dict[str, Distribution]:
    """By normalised name, as a lock writes it (PEP 503); one without a name, as pip leaves it when cut off, is none."""
    installed = {}
    for package in distributions():
        try:
            name = package.metadata["Name"]
        except FileNotFoundError:  # so says importlib_metadata, in the standard one's place once MLflow imports it
            continue
        if name:
            installed[re.sub(r"[-_.]+", "-", name).lower()] = package
    return installed


def check_python() -> Finding:
    machine = f"{platform.system()} {platform.machine()}"
    return Finding("Python", "ok", f"{platform.python_version()} on {machine}, {sys.prefix}")


def check_packages(installed: Installed) -> Finding:
    if not LOCK.exists():
        return Finding("packages", "fail", f"no {LOCK} here", "run from the project's root")

    locked = locked_versions(LOCK.read_text(encoding="utf-8"))
    wrong = []
    for name, version in locked.items():
        here = _version(installed, name)
        # A build of torch from elsewhere adds a local part: 2.10.0+cu128.
        if here.split("+")[0] != version:
            wrong.append(f"{name} {here}, locked {version}")

    if wrong:
        more = f" and {len(wrong) - NAMED_AT_MOST} more" if len(wrong) > NAMED_AT_MOST else ""
        return Finding("packages", "fail", "; ".join(wrong[:NAMED_AT_MOST]) + more, AGAIN)
    return Finding("packages", "ok", f"{len(locked)} as locked, torch {_version(installed, 'torch')}")


def locked_versions(lock: str) -> dict[str, str]:
    """Package to version, of the lines whose marker holds for this machine and Python."""
    from packaging.markers import Marker

    versions = {}
    for name, version, marker in re.findall(r"^([\w.-]+)==(\S+)(?: ; ([^\\\n]+))?", lock, re.MULTILINE):
        if not marker or Marker(marker.strip()).evaluate():
            versions[name] = version
    return versions


def _version(installed: Installed, name: str) -> str:
    return installed[name].version if name in installed else "missing"


def check_cuda_stack(facts: Facts, installed: Installed) -> Finding:
    """One CUDA major in the process: two were reported to crash or to return wrong neighbours."""
    if "faiss-cpu" in installed and "faiss-gpu" in installed:
        advice = f"they share one folder: `uv pip uninstall faiss-cpu faiss-gpu`, then {AGAIN}"
        return Finding("CUDA stack", "fail", "faiss-cpu and faiss-gpu are both installed", advice)

    torchs = facts.get("cuda")
    majors = cuda_majors(installed)
    if torchs:
        majors.add(torchs.split(".")[0])

    if len(majors) > 1:
        fact = f"CUDA {' and '.join(sorted(majors))} side by side, torch's is {torchs}"
        return Finding("CUDA stack", "fail", fact, AGAIN)
    return Finding("CUDA stack", "ok", f"CUDA {torchs or majors.pop()} alone" if majors else "none: builds for the CPU")


def cuda_majors(installed: Installed) -> set[str]:
    """Those of the installed nvidia-* packages, and of those that faiss-gpu asks for."""
    names = list(installed)
    if "faiss-gpu" in installed:
        names += installed["faiss-gpu"].requires or []

    majors = set()
    for name in names:
        if match := re.match(r"nvidia-[a-z-]+-cu(\d+)", name):
            majors.add(match[1])
    return majors


def check_faiss(facts: Facts) -> Finding:
    if "faiss" not in facts:
        return Finding("FAISS", "fail", f"the self-test ended: {facts['error']}", AGAIN)

    fact = f"{facts['faiss']}, sees {facts['faiss_gpus']} GPUs"
    wrong = [place for place, agrees in facts["neighbours"].items() if not agrees]
    if wrong:
        return Finding("FAISS", "fail", f"{fact}; wrong neighbours on the {' and the '.join(wrong)}", AGAIN)
    if facts["faiss_gpus"] < len(facts["gpus"]):
        return Finding("FAISS", "warn", f"{fact}, torch {len(facts['gpus'])}", f"faiss-gpu is missing? {AGAIN}")

    right = " and the ".join(facts["neighbours"])
    return Finding("FAISS", "ok", f"{fact}; neighbours equal brute force on the {right}")
