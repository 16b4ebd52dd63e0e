"""Batches of images that live on the device as one uint8 tensor; augmentation is tensor work over the whole batch.

Training and the clean measurements read their images through it.
"""

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

Batch = tuple[Tensor, Tensor]  # float32 [B, 3, H, W], int64 [B]


@dataclass(frozen=True)
class Plan:
    """An epoch before it begins: which image comes when, and how each is augmented."""

    order: Tensor  # int64 [N], positions of images
    flips: Tensor  # bool [N], in the epoch's order
    offsets: Tensor  # int64 [N, 2], where a crop begins in the padded image: row, column

    def to(self, device: torch.device) -> "Plan":
        """On the device: three copies an epoch, from pinned memory, which wait for nothing."""
        if device.type != "cuda":
            return Plan(self.order.to(device), self.flips.to(device), self.offsets.to(device))

        pinned = (values.pin_memory() for values in (self.order, self.flips, self.offsets))
        return Plan(*(values.to(device, non_blocking=True) for values in pinned))

    def part(self, start: int, stop: int) -> "Plan":
        return Plan(self.order[start:stop], self.flips[start:stop], self.offsets[start:stop])


class Batches:
    """One split of a dataset, in batches.

    `images` uint8 [N, H, W, 3] and `labels` [N] are moved to `device`. An image is flipped left to right with
    probability 1/2 where `flip`, and cropped at a random place after `crop_padding` zeros on each side, before
    normalisation by `mean` and `std` (of RGB in 0..1). With `channels_last`, x is a view of NHWC memory.
    All draws come from CPU generators, so that they are the same on every device.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, *, batch_size: int, mean: Sequence[float], std: Sequence[float],
        flip: bool, crop_padding: int, device: torch.device | str, channels_last: bool,
    ) -> None:  # fmt: skip
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images: found {images.dtype} {tuple(images.shape)}, expected torch.uint8 (N, H, W, 3)")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels: found {tuple(labels.shape)}, expected ({len(images)},) as there are images")
        if batch_size < 1 or crop_padding < 0:
            raise ValueError(f"found batch_size {batch_size}, crop_padding {crop_padding}, expected at least 1 and 0")

        self.images, self.labels = images.to(device), labels.to(device, torch.int64)
        self.batch_size, self.channels_last = batch_size, channels_last
        self.flip, self.crop_padding = flip, crop_padding

        # A tensor, because CUDA divides by a Python number through its reciprocal, which is not the CPU's result.
        self.white = torch.tensor(255.0, device=device)
        # One row of pixels long: a last dimension of 3 is too short to be vectorised (0.64 ms a batch against 0.23).
        self.mean, self.std = (torch.tensor(value).float().repeat(images.shape[2]).to(device) for value in (mean, std))

    def __len__(self) -> int:
        """Batches an epoch; the last may be smaller."""
        return math.ceil(len(self.images) / self.batch_size)

    def plain(self) -> "Batches":
        """The same images without augmentation; they share their memory."""
        plain = copy(self)
        plain.flip, plain.crop_padding = False, 0
        return plain

    def plan(self, order: torch.Generator, augmentation: torch.Generator) -> Plan:
        """An epoch's draws, on the CPU: one permutation from `order`, then for each batch one draw of flips and one of
        offsets from `augmentation`, where they are asked for."""
        total, margin = len(self.images), self.crop_padding
        plan = Plan(
            torch.randperm(total, generator=order),
            torch.zeros(total, dtype=torch.bool),
            torch.zeros(total, 2, dtype=torch.int64),
        )
        for start in range(0, total, self.batch_size):
            count = min(self.batch_size, total - start)
            here = slice(start, start + count)
            if self.flip:
                plan.flips[here] = torch.rand(count, generator=augmentation) < 0.5
            if margin:
                plan.offsets[here] = torch.randint(0, 2 * margin + 1, (count, 2), generator=augmentation)
        return plan

    def epoch(self, order: torch.Generator, augmentation: torch.Generator) -> Iterator[Batch]:
        """Every image once, in a drawn order, augmented, by a plan that is drawn and copied to the device at once."""
        plan = self.plan(order, augmentation).to(self.images.device)
        for start in range(0, len(self.images), self.batch_size):
            part = plan.part(start, start + self.batch_size)
            yield self._float(self._augmented(part)), self.labels.index_select(0, part.order)

    def at(self, positions: Tensor) -> Tensor:
        """The images [N] at these positions, on the device, as x, not augmented."""
        return self._float(self.images.index_select(0, positions))

    def clean(self, batch_size: int | None = None) -> Iterator[Batch]:
        """Every image once, in packed order, not augmented."""
        size = batch_size or self.batch_size
        for start in range(0, len(self.images), size):
            yield self._float(self.images[start : start + size]), self.labels[start : start + size]

    def table(self) -> Tensor:
        """What each byte is in x, in each colour: float32 [256 * 3], made on the CPU, the same for all devices."""
        bytes_of_colours = torch.arange(256, dtype=torch.float32)[:, None].repeat(1, 3)
        mean, std, white = self.mean[:3].cpu(), self.std[:3].cpu(), self.white.cpu()
        return bytes_of_colours.div_(white).sub_(mean).div_(std).flatten()

    def _augmented(self, plan: Plan) -> Tensor:
        """Flipped and cropped by one gather of pixels: where in the padded batch each pixel comes from."""
        images = self.images.index_select(0, plan.order)
        if not (self.flip or self.crop_padding):
            return images

        (count, height, width, _), margin, device = images.shape, self.crop_padding, images.device
        columns = torch.arange(width, device=device).expand(count, width)
        if self.flip:
            columns = torch.where(plan.flips[:, None], width - 1 - columns, columns)
        rows = plan.offsets[:, :1] + torch.arange(height, device=device)
        columns = plan.offsets[:, 1:] + columns

        padded = pad(images, (0, 0, margin, margin, margin, margin))
        first = torch.arange(count, device=device)[:, None] * padded.shape[1]
        pixels = ((first + rows) * padded.shape[2])[:, :, None] + columns[:, None, :]
        return padded.view(-1, 3).index_select(0, pixels.view(-1)).view(images.shape)

    def _float(self, images: Tensor) -> Tensor:
        x = images.flatten(2).float().div_(self.white).sub_(self.mean).div_(self.std)
        x = x.view(images.shape).permute(0, 3, 1, 2)
        return x if self.channels_last else x.contiguous()
