"""`seal doctor`: checks of the machine and the environment, each with what was found and what to do about it."""

from collections.abc import Callable
from functools import partial
from itertools import starmap

from seal.config import Params, load_params
from seal.doctor.cluster import cluster_checks
from seal.doctor.finding import Finding, render
from seal.doctor.machine import check_chromium, check_compiler, check_disk, check_gpu, check_threads
from seal.doctor.probe import probed
from seal.doctor.project import check_datasets, check_dvc, check_mirror, check_mlflow, check_records
from seal.doctor.software import check_cuda_stack, check_faiss, check_packages, check_python, installed_packages
from seal.doctor.speed import check_speed
from seal.errors import ConfigError, UserError

__all__ = ["Finding", "check", "render"]


def check(of_cluster: bool = False) -> list[Finding]:
    """Every finding, in about 12 s; with those of a cluster. A check that itself breaks is a finding that fails."""
    params, of_params = _read_params()
    installed, facts = installed_packages(), probed()

    checks: dict[str, Callable[[], Finding]] = {
        "Python": check_python,
        "packages": partial(check_packages, installed),
        "CUDA stack": partial(check_cuda_stack, facts, installed),
        "threads": partial(check_threads, facts, params),
        "GPU": partial(check_gpu, facts, params),
        "training": partial(check_speed, params),
        "FAISS": partial(check_faiss, facts),
        "C compiler": partial(check_compiler, facts, params),
        "disk": partial(check_disk, params),
        "data mirror": check_mirror,
        "datasets": partial(check_datasets, params),
        "record": partial(check_records, params),
        "DVC": check_dvc,
        "MLflow": check_mlflow,
        "Chromium": check_chromium,
    }
    if of_cluster:
        checks |= cluster_checks()
    return [of_params, *starmap(_guarded, checks.items())]


def _read_params() -> tuple[Params | None, Finding]:
    """The parameters, None where they cannot be read, and what there is to say of them."""
    try:
        params = load_params()
    except (ConfigError, OSError) as error:
        advice = "mend it, or write a new one with `seal tier smoke`"
        return None, Finding("params.yaml", "fail", str(error), advice)
    return params, Finding("params.yaml", "ok", f"tier {params.tier}, {len(params.run_names())} runs")


def _guarded(name: str, run: Callable[[], Finding]) -> Finding:
    try:
        return run()
    except UserError as error:
        return Finding(name, "fail", str(error))
    except Exception as error:
        return Finding(name, "fail", f"the check itself broke: {error!r}")
