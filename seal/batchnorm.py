"""BatchNorm: which statistics it goes by while something is measured, and who counts its batches.

The models are built of it, the trainer counts, rows of the history are measured by it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm2d(nn.BatchNorm2d):
    """torch's, whose count of batches can be left to who steps: it is a launch of its own for every layer."""

    counted_apart = False

    def forward(self, x: Tensor) -> Tensor:
        if not self.counted_apart:
            return super().forward(x)

        moves = not self.training or self.track_running_stats
        mean, var = (self.running_mean, self.running_var) if moves else (None, None)
        return batch_norm(x, mean, var, self.weight, self.bias, self.training, self.momentum or 0.0, self.eps)


def count_apart(model: nn.Module) -> None:
    """Leave the counts of all layers to who steps, by `batch_counters`."""
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.counted_apart = True


def batch_counters(model: nn.Module) -> list[Tensor]:
    """The counts, int64 [], of the layers that a training step moves and that are counted apart."""
    counters = []
    for module in model.modules():
        if isinstance(module, BatchNorm2d) and module.training and module.counted_apart:
            counter = module.num_batches_tracked
            if counter is not None:
                counters.append(counter)
    return counters


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
    """BatchNorm by the statistics of each batch inside the block, without touching the running ones; all else as in
    evaluation, so that dropout draws nothing. Training mode after it."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    with running_statistics(model):
        for norm in norms:
            norm.train()
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True
