"""A run's trained networks as an evaluation looks at them, from the weights that its training kept.

eval/evaluation.py gives them to every evaluation.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from eval.blocks import blocks_in_order
from eval.features import Adapted, Classifier
from seal.checkpoint import CheckpointError, fits, load_tensors
from seal.data.pack import Pack
from seal.errors import UserError
from seal.models import ResNet, block_names, is_named
from seal.networks import build_named, head_of
from seal.record import file_sha256

if TYPE_CHECKING:
    from seal.sections import AnyModel, Model


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network in eval() mode, without gradients, as one generation left it."""

    model: Classifier
    generation: int
    sha256: str  # of the checkpoint
    blocks: Mapping[str, str]  # whose outputs are probed, from first to last: the names shown to the modules'


def kept_weights(run_folder: Path, generations: Iterable[int]) -> dict[int, Path]:
    """The checkpoints of those of these generations whose weights were kept."""
    paths = {generation: run_folder / f"weights/gen-{generation:02d}.safetensors" for generation in generations}
    return {generation: path for generation, path in paths.items() if path.exists()}


def was_trained_on(run: str, summary: Mapping[str, Any], source: str, pack: Pack | None) -> None:
    """Raises UserError where a run was trained on another source, or on other images than this pack of it has."""
    again = "`dvc repro` trains it anew, `dvc checkout` brings back what it was trained on"
    if summary["data"] != source:
        raise UserError(f"{run}: trained on {summary['data']}, source is {source}; {again}")
    if pack is not None and summary["data_sha256"] != pack.sha256:
        digests = f"found sha256 {pack.sha256[:12]}..., expected {summary['data_sha256'][:12]}..."
        raise UserError(f"{pack.path}: {digests}, on which {run} was trained; {again}")


def load_network(
    path: Path, generation: int, section: "AnyModel", device: torch.device, summary: Mapping[str, Any] | None = None,
    size: int | None = None, probed: bool = False,
) -> TrainedNetwork:  # fmt: skip
    """The network of a checkpoint, on the device; `summary`: of the run whose it is to be.

    Where the section names a network of torchvision's, `size` is that of the images it was trained on, to which others
    are resized, and `probed` asks for its blocks.

    Raises CheckpointError where the file is damaged, is no such network's, or is not what the summary tells of it.
    """
    tensors, _ = load_tensors(path)
    model = _untrained(section, tensors, summary)
    fits(tensors, model.state_dict(), path)
    model.load_state_dict(tensors)
    if summary is not None:
        _is_the_runs(model, summary, generation, path)
    model.to(device).eval().requires_grad_(False)
    if not is_named(section):
        assert isinstance(model, ResNet)
        return TrainedNetwork(model, generation, file_sha256(path), block_names(section))

    assert size is not None
    example = torch.zeros(2, 3, size, size, device=device)
    blocks = blocks_in_order(model, example) if probed else []
    network = Adapted(model, head_of(model, example), size).eval()
    return TrainedNetwork(network, generation, file_sha256(path), {name: f"network.{name}" for name in blocks})


def _untrained(section: "AnyModel", tensors: Mapping[str, Tensor], summary: Mapping[str, Any] | None) -> nn.Module:
    if is_named(section):
        classes = {} if summary is None else {"num_classes": summary["classes"]}
        return build_named(section.network, {**section.options, **classes})

    return own_network(section, tensors)


def own_network(section: "Model", tensors: Mapping[str, Tensor]) -> ResNet:
    """This project's network, untrained, with a head of as many classes as these weights have."""
    bias = tensors.get("fc.bias", torch.zeros(1))
    return ResNet(section, len(bias) if bias.ndim else 1)


def _is_the_runs(model: nn.Module, summary: Mapping[str, Any], generation: int, path: Path) -> None:
    """Raises CheckpointError where the weights' norm is not the one that training has measured of them.

    Of two runs' weights it differs in its first digits. Where the best epoch was kept, the history has its norm, and
    the summary does not: then the weights are taken as they are.
    """
    kept_best = summary["generations"].get("checkpoint") == "best"
    outcomes: Mapping[int, Any] = {outcome["generation"]: outcome for outcome in summary["outcomes"]}
    told = outcomes.get(generation, {})
    if kept_best or "norm_early" not in told:
        return

    squares = [value.detach().double().square().sum() for value in model.parameters()]
    norm, expected = float(torch.stack(squares).sum().sqrt()), math.hypot(told["norm_early"], told["norm_late"])
    if not math.isclose(norm, expected, rel_tol=1e-4):
        raise CheckpointError(
            f"{path}: found weights of norm {norm:.6g}, expected {expected:.6g}, as summary.json beside it has it; "
            "`dvc checkout` or `dvc repro` restores them"
        )
