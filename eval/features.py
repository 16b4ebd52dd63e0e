"""What a frozen network makes of images: pooled features, and the output of every block.

A network that is not this project's is an `Adapted`: its features are what its last linear layer is given.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from seal.data.batches import Batches
from seal.errors import UserError
from seal.models import ResNet
from seal.precision import computing


class Adapted(nn.Module):
    """Any classifier as evaluations look at it: float [N, 3, H, W] to logits [N, classes], and features before them.

    `head` names the linear layer that gives the logits. Where `size` is given, images are resized to it, bilinear.
    """

    def __init__(self, network: nn.Module, head: str, size: int | None = None) -> None:
        super().__init__()
        self.network, self.head, self.size = network, f"network.{head}", size

    @property
    def fc(self) -> nn.Linear:
        head = self.get_submodule(self.head)
        assert isinstance(head, nn.Linear)
        return head

    def forward(self, x: Tensor) -> Tensor:
        if self.size is not None and x.shape[-1] != self.size:
            x = interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self.network(x)  # type: ignore[no-any-return]

    def features(self, x: Tensor) -> Tensor:
        """What the head is given, [N, channels]."""
        seen: list[Tensor] = []
        hook = self.fc.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        try:
            self(x)
        finally:
            hook.remove()
        return seen[-1]


Classifier = ResNet | Adapted


def plain_batches(
    images: Tensor, labels: Tensor, *, batch_size: int, mean: Sequence[float], std: Sequence[float],
    device: torch.device,
) -> Batches:  # fmt: skip
    """Images uint8 [N, H, W, 3] on the device, normalised as in training and not augmented."""
    return Batches(
        images, labels, batch_size=batch_size, mean=mean, std=std, flip=False, crop_padding=0, device=device,
        channels_last=False,
    )  # fmt: skip


def require_evaluation_mode(model: nn.Module) -> None:
    """Raises ValueError where BatchNorm would go by a batch's statistics: features would depend on the batch."""
    if any(isinstance(module, _BatchNorm) and module.training for module in model.modules()):
        raise ValueError("the network is in training mode, expected eval(): features would depend on their batch")


def require_plain(batches: Batches) -> None:
    """Raises ValueError where the images are augmented: features would differ from pass to pass."""
    if batches.flip or batches.crop_padding:
        raise ValueError("the images are augmented, expected plain ones: features would differ from pass to pass")


@torch.no_grad()
def pooled_features(model: Classifier, batches: Batches, precision: str = "float32") -> tuple[Tensor, Tensor]:
    """Features before the linear layer, float32 [N, channels], and labels [N], in packed order.

    `precision` is the network's (seal/precision.py). Raises ValueError for a network in training mode and for augmented
    images, UserError where a feature is not finite.
    """
    require_evaluation_mode(model)
    require_plain(batches)
    features, labels = [], []
    for x, y in batches.clean():
        with computing(precision, x.device):
            features.append(model.features(x).float())
        labels.append(y)

    rows = torch.cat(features)
    if not rows.isfinite().all():
        raise UserError("found features that are not finite, expected finite ones; the network overflows on an image")
    return rows, torch.cat(labels)


@contextmanager
def outputs_of(model: nn.Module, modules: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """A dict that holds, after each forward pass inside the block, the output of every named module, as it gave it."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        outputs[name] = output.clone()  # what comes next may change it in place, as a ReLU does

    with ExitStack() as hooks:
        for name in modules:
            handle = model.get_submodule(name).register_forward_hook(partial(keep, name))
            hooks.callback(handle.remove)
        yield outputs
