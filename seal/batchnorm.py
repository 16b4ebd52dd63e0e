"""Which statistics BatchNorm goes by while something is measured. For rows of the history."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, training mode after it."""
    model.eval()
    try:
        yield
    finally:
        model.train()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm by the statistics of each batch inside the block, without touching the running ones."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    model.train()
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
