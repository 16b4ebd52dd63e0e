"""A ResNet by arithmetic alone, without torch: its layers, its size, and what a pass of a batch through it comes to.

The plan of every tier asks for the size, that of a GPU (gpu.py) for the passes. tests/test_gpu_plan.py counts the same
on torch's operations.
"""

from dataclasses import dataclass

from seal.blocks import BLOCKS
from seal.config import Params
from seal.errors import ConfigError
from seal.measure import NetworkSize
from seal.planning.counts import classes
from seal.sections import AnyModel, Model, NamedModel

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Convolution:
    inputs: int
    outputs: int
    kernel: int
    side: int  # of the map it puts out, in pixels

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * self.kernel**2

    @property
    def flop(self) -> float:
        """Of one image, forward; a product and a sum are two."""
        return 2.0 * self.weights * self.side**2


@dataclass(frozen=True)
class Network:
    """Its convolutions in order, each with a BatchNorm behind it, and a linear layer at the end."""

    convolutions: tuple[Convolution, ...]
    blocks: int
    shortcuts: int  # convolutions that no ReLU follows of its own: those of downsample
    block_outputs: int  # numbers of one image, all blocks together
    channels: int  # into the linear layer
    classes: int

    @property
    def norm_channels(self) -> int:
        """Of all BatchNorms together."""
        return sum(layer.outputs for layer in self.convolutions)

    @property
    def trained_parameters(self) -> int:
        weights = sum(layer.weights for layer in self.convolutions)
        return weights + 2 * self.norm_channels + (self.channels + 1) * self.classes

    @property
    def size(self) -> NetworkSize:
        """With BatchNorm's statistics, two numbers a channel and a count, as a checkpoint holds them."""
        statistics = 2 * self.norm_channels + len(self.convolutions)
        return NetworkSize(self.trained_parameters + statistics, self.block_outputs)

    @property
    def forward_flop(self) -> float:
        return sum(layer.flop for layer in self.convolutions) + 2.0 * self.channels * self.classes

    @property
    def activation_bytes(self) -> float:
        """Of one image, what the convolutions put out."""
        return FLOAT_BYTES * sum(layer.outputs * layer.side**2 for layer in self.convolutions)

    @property
    def relus(self) -> int:
        return len(self.convolutions) - self.shortcuts


def network_of(model: Model, image_size: int, classes: int) -> Network:
    """As seal/models.py builds it."""
    bottleneck, channels = model.depth == 50, model.width
    side = -(-image_size // 2) if model.stem == "imagenet" else image_size
    layers = [Convolution(3, channels, 7 if model.stem == "imagenet" else 3, side)]
    if model.stem == "imagenet":
        side = -(-side // 2)  # max-pooling

    shortcuts = block_outputs = 0
    for index, blocks in enumerate(BLOCKS[model.depth]):
        for block in range(blocks):
            width, stride = model.width * 2**index, 2 if index > 0 and block == 0 else 1
            outputs, before, side = width * (4 if bottleneck else 1), side, -(-side // stride)
            if bottleneck:
                layers.append(Convolution(channels, width, 1, before))
                layers += [Convolution(width, width, 3, side), Convolution(width, outputs, 1, side)]
            else:
                layers += [Convolution(channels, width, 3, side), Convolution(width, width, 3, side)]

            if stride != 1 or channels != outputs:
                layers.append(Convolution(channels, outputs, 1, side))
                shortcuts += 1
            channels = outputs
            block_outputs += outputs * side**2

    return Network(tuple(layers), sum(BLOCKS[model.depth]), shortcuts, block_outputs, channels, classes)


def network_of_tier(params: Params) -> Network:
    dataset = params.datasets[params.source]
    return network_of(own_model(params.model), dataset.image_size, classes(dataset))


def own_model(model: AnyModel) -> Model:
    """Raises ConfigError for another's network, whose costs nobody has counted."""
    if isinstance(model, NamedModel):
        raise ConfigError(
            f"model is {model.network}, expected one of this project's ResNets: only their costs are known"
        )
    return model


@dataclass(frozen=True)
class Pass:
    """What a batch's way through a network asks of a device."""

    launches: float  # operations that are launched one by one
    bytes: float  # read and written, each operand of an operation once
    flop: float


# Bytes, counted on torch's operations, over the bytes that the convolutions put out: how often a step goes over them.
TRAINING_SWEEPS, FORWARD_SWEEPS, TUNING_SWEEPS, PRODUCT_SWEEPS = 18.4, 7.3, 17.6, 75.0
# Of a training step, weights: forward, backward, gradient; and the signed step's 20 bytes a parameter.
WEIGHT_SWEEPS = 8


def training_step(network: Network, batch_size: int) -> Pass:
    """Cut, flip and normalise, forward, loss, backward, signed step."""
    layers, stem = len(network.convolutions), network.convolutions[0]
    return Pass(
        # A convolution, its BatchNorm and the count of its batches, and both backward; ReLU and sum there and back;
        # 16 for a batch's images, 33 for pooling, linear layer and loss, 1 for the step.
        launches=5 * layers + 2 * network.relus + 2 * network.blocks + 50,
        bytes=TRAINING_SWEEPS * batch_size * network.activation_bytes
        + WEIGHT_SWEEPS * FLOAT_BYTES * network.trained_parameters,
        flop=batch_size * (3 * network.forward_flop - stem.flop),  # the images need no gradient
    )


def forward_pass(network: Network, batch_size: int) -> Pass:
    return Pass(
        launches=2 * len(network.convolutions) + network.relus + network.blocks + 2,
        bytes=FORWARD_SWEEPS * batch_size * network.activation_bytes + FLOAT_BYTES * network.trained_parameters,
        flop=batch_size * network.forward_flop,
    )


def tuning_step(network: Network, batch_size: int) -> Pass:
    """Of scales and shifts: forward, and backward to the maps but not to the weights."""
    return Pass(
        launches=8.4 * len(network.convolutions) + 24,
        bytes=TUNING_SWEEPS * batch_size * network.activation_bytes + 2 * FLOAT_BYTES * network.trained_parameters,
        flop=batch_size * (2 * network.forward_flop - network.convolutions[0].flop),
    )


def curvature_product(network: Network, batch_size: int) -> Pass:
    """A Hessian-vector product: backward through the gradient, whose graph is kept."""
    return Pass(
        launches=42.4 * len(network.convolutions) + 23,
        bytes=PRODUCT_SWEEPS * batch_size * network.activation_bytes + 8 * FLOAT_BYTES * network.trained_parameters,
        flop=2 * training_step(network, batch_size).flop,
    )
