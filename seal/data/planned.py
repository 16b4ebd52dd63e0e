"""Batches that a captured step reads: by an epoch's plan and a position, both of which lie on the device.

No host value enters `next`, so that a CUDA graph of it gives another batch at each replay. For seal/captured.py.
"""

import torch
from torch import Tensor

from seal.data.batches import Batch, Batches, Plan


class PlannedBatches:
    """The batches of a `Batches`, bit for bit, from a plan that is uploaded before each epoch."""

    def __init__(self, batches: Batches) -> None:
        self.images, self.labels = batches.images, batches.labels
        self.margin, self.channels_last = batches.crop_padding, batches.channels_last

        total, device = len(self.images), self.images.device
        self.plan = Plan(
            torch.zeros(total, dtype=torch.int64, device=device),
            torch.zeros(total, dtype=torch.bool, device=device),
            torch.zeros(total, 2, dtype=torch.int64, device=device),
        )
        self.position = torch.zeros(1, dtype=torch.int64, device=device)  # of the next batch's first image in the plan
        self.floats = batches.table().to(device)

    def upload(self, plan: Plan) -> None:
        """Begin an epoch: its plan in place of the last one's."""
        new = plan.to(self.images.device)
        self.plan.order.copy_(new.order)
        self.plan.flips.copy_(new.flips)
        self.plan.offsets.copy_(new.offsets)
        self.position.zero_()

    def next(self, size: int) -> Batch:
        """The next `size` images of the plan, which begins anew where it ends."""
        device, (total, height, width, _) = self.images.device, self.images.shape
        at = (self.position + torch.arange(size, device=device)) % total
        chosen, flips = self.plan.order.index_select(0, at), self.plan.flips.index_select(0, at)
        offsets = self.plan.offsets.index_select(0, at) - self.margin

        # Where in its image each pixel comes from; what lies outside is the padding's zero.
        rows = (offsets[:, :1] + torch.arange(height, device=device))[:, :, None]
        columns = torch.arange(width, device=device)
        columns = (torch.where(flips[:, None], width - 1 - columns, columns) + offsets[:, 1:])[:, None, :]
        outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
        pixels = (chosen[:, None, None] * height + rows.clamp(0, height - 1)) * width + columns.clamp(0, width - 1)

        colours = self.images.view(-1, 3).index_select(0, pixels.flatten())
        colours = colours.masked_fill(outside.flatten()[:, None], 0)
        self.position += size
        return self._floats(colours, (size, height, width, 3)), self.labels.index_select(0, chosen)

    def _floats(self, colours: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        """uint8 [pixels, 3] as x, by the table of every byte's value in each colour."""
        entries = colours.int() * 3 + torch.arange(3, dtype=torch.int32, device=colours.device)
        x = self.floats.index_select(0, entries.flatten()).view(shape).permute(0, 3, 1, 2)
        return x if self.channels_last else x.contiguous()
