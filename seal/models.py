"""The ResNets (He et al. 2016), and the names of their blocks.

The trainer builds its network here, and evaluations the one that a checkpoint's weights go into.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad

from seal.batchnorm import BatchNorm2d
from seal.blocks import BLOCKS
from seal.networks import drawn_by_itself
from seal.reinit import Initialiser, drawn, initialise, with_statistics

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from seal.sections import AnyModel, Model, NamedModel


class Conv2d(nn.Conv2d):
    """A convolution; on a CPU, where many weights meet a map of few positions, computed as one matrix product.

    ResNet's last layer has maps of 2x2 on 64x64 images. There oneDNN's convolution moves its weights several times: a
    512-to-512 one takes 17 ms forward and backward in bfloat16, the product 4; in float32 11 to 28 ms against 7 (batch
    32, two cores; benchmarks/training.py has the whole network).
    """

    FEW_POSITIONS, MANY_WEIGHTS = 4, 2**20

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride, margin = self.kernel_size[0], self.stride[0], int(self.padding[0])
        if x.device.type != "cpu":
            return super().forward(x)
        if kernel == 1 and stride > 1 and not x.is_contiguous():
            # In NHWC memory torch 2.10's backward of this convolution, with few channels, writes outside its buffers.
            x = x[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)
            return conv2d(x, self.weight)

        height, width = ((size + 2 * margin - kernel) // stride + 1 for size in x.shape[2:])
        if height * width > self.FEW_POSITIONS or self.weight.numel() < self.MANY_WEIGHTS:
            return super().forward(x)

        padded = pad(x.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin))
        patches = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)  # N, height, width, C, kernel, kernel
        # The patches are small: they follow the weights' order, not the other way round.
        if self.weight.is_contiguous():
            patches, weight = patches.flatten(3), self.weight.flatten(1)
        else:
            patches, weight = patches.permute(0, 1, 2, 4, 5, 3).flatten(3), self.weight.permute(0, 2, 3, 1).flatten(1)

        product: Tensor = linear(patches.flatten(0, 2), weight)
        return product.view(len(x), height, width, -1).permute(0, 3, 1, 2)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class Block(nn.Module):
    """A residual block: two 3x3 convolutions (basic), or 1x1, 3x3, 1x1 with four times the width out (bottleneck)."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        outputs = width * (4 if bottleneck else 1)

        # Registered in forward order, each BatchNorm behind its convolution: the split goes by this order.
        self.conv1 = _conv(inputs, width, 1) if bottleneck else _conv(inputs, width, 3, stride)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride if bottleneck else 1)
        self.bn2 = BatchNorm2d(width)
        if bottleneck:
            self.conv3 = _conv(width, outputs, 1)
            self.bn3 = BatchNorm2d(outputs)

        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            out = self.bn3(self.conv3(self.relu(out)))
        return self.relu(out.add_(shortcut))  # type: ignore[no-any-return]


class ResNet(nn.Module):
    """ResNet-18 or ResNet-50 with `width` channels in the stem (64 in the paper).

    `stem: imagenet` is 7x7 with stride 2 and max-pooling, as in the authors' code on 64x64 images; `small` is 3x3 with
    stride 1. Input float [N, 3, H, W]; output logits [N, num_classes].
    """

    def __init__(self, model: "Model", num_classes: int) -> None:
        super().__init__()
        width, bottleneck = model.width, model.depth == 50
        imagenet = model.stem == "imagenet"

        self.conv1 = _conv(3, width, 7, 2) if imagenet else _conv(3, width, 3)
        self.bn1 = BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if imagenet else nn.Identity()

        channels = width
        for index, blocks in enumerate(BLOCKS[model.depth]):
            layer = nn.Sequential()
            for position in range(blocks):
                stride = 2 if index > 0 and position == 0 else 1
                layer.append(Block(channels, width * 2**index, stride, bottleneck))
                channels = width * 2**index * (4 if bottleneck else 1)
            self.add_module(f"layer{index + 1}", layer)

        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Pooled features [N, channels] before the linear layer."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for index in range(4):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return self.avgpool(x).flatten(1)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))  # type: ignore[no-any-return]


def block_names(model: "Model") -> dict[str, str]:
    """The paper's names of the blocks' outputs (Figs. 2 and 3, from 1) to the modules': `Block4.1` -> `layer4.0`."""
    names = {}
    for layer, blocks in enumerate(BLOCKS[model.depth], start=1):
        for block in range(blocks):
            names[f"Block{layer}.{block + 1}"] = f"layer{layer}.{block}"
    return names


def build(model: "Model", num_classes: int, generator: torch.Generator, device: torch.device | str = "cpu") -> ResNet:
    """An initialised network on `device`; the draws come from `generator` alone."""
    network = ResNet(model, num_classes)
    initialise(network, generator, model.classifier_bias)
    return network.to(device)


def network_of(
    model: "AnyModel", num_classes: int, generator: torch.Generator, device: torch.device | str = "cpu"
) -> nn.Module:
    """What `model` of params.yaml names, initialised: a ResNet of this file, or torchvision's as it begins itself."""
    if is_named(model):
        return drawn_by_itself(model.network, model.options, num_classes, generator).to(device)
    return build(model, num_classes, generator, device)


def drawn_values(
    model: "AnyModel", network: nn.Module, num_classes: int, generator: torch.Generator, names: Iterable[str],
    initialiser: Initialiser = "model",
) -> dict[str, Tensor]:  # fmt: skip
    """Values as a training begins with, of the named parameters; with a BatchNorm's scale come its statistics.

    A network of torchvision's is drawn as a whole, by its own constructor: it knows best what its layers begin from.
    """
    if not is_named(model):
        return drawn(network, generator, names, initialiser, model.classifier_bias)

    wanted = with_statistics(network, names)
    state = drawn_by_itself(model.network, model.options, num_classes, generator).state_dict()
    return {name: value for name, value in state.items() if name in wanted}


def is_named(model: "AnyModel") -> "TypeIs[NamedModel]":
    """Whether it is a network of another's: the section is told by its fields, as pydantic is not known here."""
    return hasattr(model, "network")
