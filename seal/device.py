"""Where a stage computes. Every stage that has a network asks here, and so does the calibration."""

from typing import TYPE_CHECKING

import torch

from seal.errors import UserError

if TYPE_CHECKING:
    from seal.sections import Runtime


def torch_device(runtime: "Runtime") -> torch.device:
    """The device that `runtime.device` names, `auto` being CUDA where there is one; sets torch's threads too.

    Raises UserError for a name that torch does not know, and for a GPU that is not there.
    """
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)

    if runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(runtime.device)
    except RuntimeError:
        raise UserError(
            f"runtime.device: found {runtime.device!r}, expected auto, cpu, cuda or cuda:NUMBER; correct it"
        ) from None

    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise UserError(
            f"runtime.device: found {runtime.device}, but torch finds {count} GPUs here; set auto or cpu, or see "
            "`seal doctor`"
        )
    return device
