"""What a GPU would take, by counting: nothing here was measured on one (measured_gpu.py has what was).

A pass takes as long as the scarcest of three: its launches, its bytes, its arithmetic. The plan of the paper tier asks.
"""

import math
from dataclasses import dataclass

from seal.config import Params
from seal.measure import Rates
from seal.planning.network import Network, Pass, curvature_product, forward_pass, training_step, tuning_step

# Assumptions, which gpu_show.py prints beside the figures.
LAUNCH = 6e-6  # s an operation
BANDWIDTH_SHARE, ARITHMETIC_SHARE = 0.8, 0.5  # of the data sheet's, in reach of such layers
SEARCH = 2.0  # times the bare products: selection, proof
SAVED_PER_SECOND = 1e9  # bytes to a disk and confirmed
START = 20.0  # s a stage: Python, imports, CUDA, weights and images to the device
TOGETHER = 500  # images in an evaluation's forward pass
TUNED_TOGETHER = 1024  # images of few-shot episodes in a step: 8 GB of episodes, four images each
RESERVED_BYTES = 2e9  # CUDA's own, cuDNN's work space
KEPT_SWEEPS = 2.9  # what a training step keeps for its backward pass, over what the convolutions put out; counted


@dataclass(frozen=True)
class Gpu:
    """By NVIDIA's data sheets, without sparsity."""

    name: str
    bytes_per_second: float
    tf32_flops: float
    bfloat16_flops: float
    float32_flops: float
    launch_seconds: float = LAUNCH  # its host's

    def seconds(self, step: Pass, flops: float) -> tuple[float, str]:
        """Of a pass, and what binds it."""
        limits = {
            "launches": step.launches * self.launch_seconds,
            "bytes": step.bytes / (BANDWIDTH_SHARE * self.bytes_per_second),
            "arithmetic": step.flop / (ARITHMETIC_SHARE * flops),
        }
        binding = max(limits, key=limits.__getitem__)
        return limits[binding], binding


H100 = Gpu("H100 SXM", 3.35e12, 495e12, 989e12, 67e12)
A100 = Gpu("A100 SXM 80 GB", 2.04e12, 156e12, 312e12, 19.5e12)
GPUS = (H100, A100)


@dataclass(frozen=True)
class CountedPass:
    """A kind of pass that stages are made of."""

    words: str
    images: int
    step: Pass
    arithmetic: str  # the attribute of Gpu that its products and convolutions go by


def passes_of(network: Network, params: Params) -> dict[str, CountedPass]:
    """By the kind of work (measure.Rates) that is done in them, in the parameters' precisions."""
    batch = params.training.batch_size
    trains_by, tunes_by = f"{params.training.precision}_flops", f"{params.fewshot_affines.precision}_flops"
    return {
        "trained": CountedPass("a training step", batch, training_step(network, batch), trains_by),
        "measured": CountedPass("a batch measured", batch, forward_pass(network, batch), trains_by),
        "seen": CountedPass("a forward pass", TOGETHER, forward_pass(network, TOGETHER), "float32_flops"),
        "tuned": CountedPass(
            "a step of scales and shifts", TUNED_TOGETHER, tuning_step(network, TUNED_TOGETHER), tunes_by
        ),
        "curved": CountedPass("a Hessian-vector product", batch, curvature_product(network, batch), "float32_flops"),
    }


def rates_on(gpu: Gpu, passes: dict[str, CountedPass]) -> Rates:
    images_per_second = {}
    for kind, counted in passes.items():
        seconds, _ = gpu.seconds(counted.step, getattr(gpu, counted.arithmetic))
        images_per_second[kind] = counted.images / seconds

    return Rates(
        **images_per_second,
        searched=ARITHMETIC_SHARE * gpu.float32_flops / SEARCH / 1e9,
        saved=SAVED_PER_SECOND,
        small=math.inf,
        launched=1 / gpu.launch_seconds,
        compilers=math.inf,  # in a stage's start
    )


def memory_bytes(network: Network, batch_size: int, images_bytes: float) -> float:
    """Of a training: weights, gradients, momentum and best weights, what a step keeps, all training images."""
    network_bytes = 4 * 4.0 * network.trained_parameters
    return RESERVED_BYTES + network_bytes + KEPT_SWEEPS * batch_size * network.activation_bytes + images_bytes
