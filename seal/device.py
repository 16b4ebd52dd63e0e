"""Where a stage computes."""

import torch

from seal.sections import Runtime


def torch_device(runtime: Runtime) -> torch.device:
    """The device that `runtime.device` names, `auto` being CUDA where there is one; sets torch's threads too."""
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)
    if runtime.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(runtime.device)
