"""A run's trained networks as an evaluation looks at them, from the weights that its training kept.

eval/evaluation.py gives them to every evaluation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from seal.checkpoint import load_tensors
from seal.models import ResNet
from seal.record import file_sha256

if TYPE_CHECKING:
    from seal.sections import Model


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network in eval() mode, without gradients, as one generation left it."""

    model: ResNet
    generation: int
    sha256: str  # of the checkpoint


def kept_weights(run_folder: Path, generations: Iterable[int]) -> dict[int, Path]:
    """The checkpoints of those of these generations whose weights were kept."""
    paths = {generation: run_folder / f"weights/gen-{generation:02d}.safetensors" for generation in generations}
    return {generation: path for generation, path in paths.items() if path.exists()}


def load_network(path: Path, generation: int, section: "Model", device: torch.device) -> TrainedNetwork:
    """The network of a checkpoint, on the device. Raises CheckpointError where the file is damaged."""
    tensors, _ = load_tensors(path)
    model = ResNet(section, len(tensors["fc.bias"]))
    model.load_state_dict(tensors)
    model.to(device).eval().requires_grad_(False)
    return TrainedNetwork(model, generation, file_sha256(path))
