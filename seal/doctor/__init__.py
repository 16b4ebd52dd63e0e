"""`seal doctor`: checks of the machine and the environment, each with what was found and what to do about it."""

from collections.abc import Callable
from functools import partial

from seal.config import ConfigError, Params, load_params
from seal.doctor.finding import Finding, render
from seal.doctor.machine import check_chromium, check_compiler, check_disk, check_gpu, check_threads
from seal.doctor.probe import probed
from seal.doctor.project import check_datasets, check_dvc, check_mirror, check_mlflow
from seal.doctor.software import check_cuda_stack, check_faiss, check_packages, check_python, installed_packages

__all__ = ["Finding", "check", "render"]


def check() -> list[Finding]:
    """Every finding, in about 5 s. A check that itself breaks is a finding that fails."""
    params: Params | None = None
    try:
        params = load_params()
        words = f"tier {params.tier}, {len(params.run_names())} runs"
        findings = [Finding("params.yaml", "ok", words)]
    except ConfigError as error:
        findings = [Finding("params.yaml", "fail", str(error), "mend it, or write a new one with `seal tier smoke`")]
    installed, facts = installed_packages(), probed()
    checks: dict[str, Callable[[], Finding]] = {
        "Python": check_python,
        "packages": partial(check_packages, installed),
        "CUDA stack": partial(check_cuda_stack, facts, installed),
        "threads": partial(check_threads, facts, params),
        "GPU": partial(check_gpu, facts, params),
        "FAISS": partial(check_faiss, facts),
        "C++ compiler": partial(check_compiler, params),
        "disk": partial(check_disk, params),
        "data mirror": check_mirror,
        "datasets": partial(check_datasets, params),
        "DVC": check_dvc,
        "MLflow": check_mlflow,
        "Chromium": check_chromium,
    }
    for name, run in checks.items():
        try:
            findings.append(run())
        except Exception as error:
            findings.append(Finding(name, "fail", f"the check itself broke: {error!r}"))
    return findings
