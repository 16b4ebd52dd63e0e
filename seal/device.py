"""Where a stage computes, and what it asks of a GPU before work starts. Every stage that has a network asks here.

A GPU that is not there, that this torch cannot use, that has too little memory, or whose arithmetic the environment
changes behind the parameters, is one line. So are the calibration's and the acceptance's.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from seal.errors import UserError

if TYPE_CHECKING:
    from seal.sections import Runtime

# Of cuBLAS, which else takes its work space where it finds it and sums in an order that follows.
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
OVERRIDES = ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NVIDIA_TF32_OVERRIDE")
MB = 2**20


def torch_device(runtime: "Runtime") -> torch.device:
    """The device that `runtime.device` names, `auto` being CUDA where there is one; sets torch's threads too.

    A GPU becomes the process's current one, deterministic or not as `runtime` says. Raises UserError for another
    name, and for a GPU that is not there or cannot be used.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)

    device = device_named(runtime.device)
    if device.type == "cuda":
        set_deterministic(runtime.deterministic)
    return device


def device_named(name: str) -> torch.device:
    """The device of that name, a GPU with its number, made the current one: FAISS and Triton launch on that."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):  # torch knows more, such as mps and meta
        raise UserError(f"runtime.device: found {name!r}, expected auto, cpu, cuda or cuda:NUMBER; correct it")

    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        _require_gpu(name, device)
        torch.cuda.set_device(device)
    return device


def _require_gpu(name: str, device: torch.device) -> None:
    count = torch.cuda.device_count()
    if device.index >= count:
        raise UserError(
            f"runtime.device: found {name}, but torch finds {count} GPUs here{_why_none(count)}; set auto or cpu, or "
            "see `seal doctor`"
        )

    major, minor = torch.cuda.get_device_capability(device)
    built_for = torch.cuda.get_arch_list()
    if not any(_runs_on(architecture, major, minor) for architecture in built_for):
        raise UserError(
            f"runtime.device: found {torch.cuda.get_device_name(device)} of compute capability {major}.{minor}, but "
            f"this torch is built for {', '.join(built_for)}; set cpu, or install a torch that is built for it"
        )

    for variable in OVERRIDES:
        if variable in os.environ:
            raise UserError(
                f"found {variable}={os.environ[variable]}, expected none: `precision` says where TF32 is; unset it"
            )


def _why_none(count: int) -> str:
    if count:
        return ""
    if torch.version.cuda is None:
        return ": it is built for CPUs alone"
    return f": it is built for CUDA {torch.version.cuda}, so NVIDIA's driver is missing or shows it none"


def _runs_on(architecture: str, major: int, minor: int) -> bool:
    """Whether code for an architecture, as `sm_90a` or `compute_90`, runs on that compute capability."""
    kind, _, digits = architecture.partition("_")
    number = int("".join(filter(str.isdigit, digits)))
    if kind == "compute":  # PTX, which newer cards translate
        return number <= 10 * major + minor
    return number // 10 == major and number % 10 <= minor


def set_deterministic(fixed: bool) -> None:
    """Whether a GPU is to give the same bits twice, or may take what is fastest; before its first matrix product."""
    if fixed:
        os.environ.setdefault(*WORKSPACE)
    torch.use_deterministic_algorithms(fixed)
    torch.backends.cudnn.deterministic = fixed
    torch.backends.cudnn.benchmark = False
    # Else torch fills all new memory, so that what reads it before it is written gives the same too: nothing here does.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def deterministic(device: torch.device, fixed: bool) -> Iterator[None]:
    """The same within a block; a CPU's operations are what they are."""
    if device.type != "cuda":
        yield
        return

    before = torch.are_deterministic_algorithms_enabled()
    set_deterministic(fixed)
    try:
        yield
    finally:
        set_deterministic(before)


def require_memory(device: torch.device, needed_bytes: float, load: str, remedy: str) -> None:
    """Raises UserError where a GPU has less free memory than is known to be needed."""
    if device.type != "cuda":
        return

    free, _ = torch.cuda.mem_get_info(device)
    if needed_bytes > free:
        raise UserError(
            f"{load} needs {needed_bytes / MB:,.0f} MB of {device}, found {free / MB:,.0f} MB free of "
            f"{torch.cuda.get_device_name(device)}; {remedy}"
        )


def device_words(device: torch.device) -> str:
    """What a resume state says it was made on: the kind, and a GPU's name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
