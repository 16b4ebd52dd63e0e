"""A batch and a loss together: what training minimises, and the same measured on images that nothing is learned from.

The trainer steps by it; rows of the history and the outcome of a generation are measured by it.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from seal.data.batches import Batch
from seal.precision import arithmetic, autocast
from seal.steps import Teacher

if TYPE_CHECKING:
    from seal.sections import Training

Forward = Callable[[Tensor], Tensor]  # images float32 [B, 3, H, W] -> logits [B, classes]


class Objective:
    """Cross-entropy with label smoothing, in the precision of training (section 4.1); a teacher's too."""

    def __init__(self, training: "Training", device: torch.device) -> None:
        self.precision, self.device = training.precision, device
        self.cross_entropy = nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)

    def __call__(self, network: Forward, x: Tensor, y: Tensor, teacher: Teacher | None = None) -> tuple[Tensor, Tensor]:
        """The batch's mean loss, and whether each image's class is right (bool [B]); both stay on the device."""
        with autocast(self.precision, self.device):
            logits = network(x)
            loss = self.cross_entropy(logits, y)
            if teacher is not None:
                loss = teacher.loss(x, logits, loss)

        return loss, logits.detach().argmax(1) == y

    @torch.no_grad()
    def measure(self, network: Forward, batches: Iterable[Batch]) -> tuple[float, Tensor]:
        """Mean loss over all images, and whether each one's class is right (bool [N], in the batches' order)."""
        total, hits = torch.zeros((), dtype=torch.float64, device=self.device), []
        with arithmetic(self.precision):
            for x, y in batches:
                loss, right = self(network, x, y)
                total += loss.double() * len(y)
                hits.append(right)

        all_hits = torch.cat(hits)
        return float(total) / len(all_hits), all_hits
