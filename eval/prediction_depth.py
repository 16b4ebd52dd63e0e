"""Prediction depth, section 5, Figures 2 and 3: the stage `python -m eval.prediction_depth --run ARM-SEED`.

Figures 2 and 3 plot the probes' accuracy against the true label, block by block (`knn_accuracy`); depth is per image.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from eval.evaluation import EvaluationStage, Findings, evaluation_stage
from eval.features import plain_batches
from eval.networks import TrainedNetwork
from eval.probes import BlockProbes, prediction_depth, probe
from seal.data.batches import Batch, Batches
from seal.errors import UserError

if TYPE_CHECKING:
    from seal.evaluations import PredictionDepth


def evaluate(stage: EvaluationStage, network: TrainedNetwork, section: "PredictionDepth") -> Findings:
    train = images_of(stage, section, "train", section.train_images)
    test = images_of(stage, section, "test", section.test_images)

    def watch(batches: Iterable[Batch], words: str, count: int) -> Iterable[Batch]:
        return stage.bar.track(batches, total=count, description=f"generation {network.generation}, {words}")

    probes = probe(network.model, list(network.blocks.values()), train, test, section, watch)
    reference = probes.prediction if section.reference == "model" else probes.votes[:, -1]
    depth = prediction_depth(probes.votes, reference)

    training = stage.run.training
    counts = {"train": len(train.images), "test": len(test.images)}
    return Findings(
        depth_values(probes, depth, test.labels, list(network.blocks)),
        {
            "votes": probes.votes.cpu().numpy().astype(np.int16),
            "labels": test.labels.cpu().numpy().astype(np.int16),
            "depth": depth.cpu().numpy().astype(np.uint8),
        },
        params=section.model_dump() | {"mean": training.mean, "std": training.std, "images": counts},
        work=counts["train"] * probes.passes + counts["test"],
        remark=how_exact(probes),
    )


def images_of(stage: EvaluationStage, section: "PredictionDepth", split: str, count: int | None) -> Batches:
    """`count` images of a split, or all, not augmented. Raises UserError where there are none."""
    part, training = stage.pack[split], stage.run.training
    chosen = each_class_in_turn(part.labels, count)
    if not len(chosen):
        kind = "training" if split == "train" else split
        raise UserError(f"{stage.pack.path}: found no {kind} images, expected some; see datasets in params.yaml")

    return plain_batches(
        part.images[chosen], part.labels[chosen], batch_size=section.batch_size,
        mean=training.mean, std=training.std, device=stage.device,
    )  # fmt: skip


def each_class_in_turn(labels: Tensor, count: int | None) -> Tensor:
    """Positions, ascending, of `count` images drawn class by class, each class's in packed order; None is all.

    Packs are sorted by class: the first images alone would be of one class.
    """
    if count is None or count >= len(labels):
        return torch.arange(len(labels))

    by_class = labels.argsort(stable=True)
    sizes = labels.bincount()
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts.repeat_interleave(sizes)  # within its class
    return (rank * len(sizes) + labels).argsort()[:count].sort().values


def depth_values(probes: BlockProbes, depth: Tensor, labels: Tensor, blocks: Sequence[str]) -> dict[str, Any]:
    """The JSON's values: per block, and the counts of depth 0..B."""

    def share(matches: Tensor) -> Any:
        return matches.double().mean(0).tolist()

    return {
        "blocks": list(blocks),
        "knn_accuracy": share(probes.votes == labels[:, None]),
        "agreement": share(probes.votes == probes.prediction[:, None]),
        "certified_share": share(probes.certified),
        "depth_counts": depth.bincount(minlength=len(blocks) + 1).tolist(),
        "mean_depth": depth.double().mean().item(),
        "model_accuracy": share(probes.prediction == labels),
        "passes": probes.passes,
    }


def how_exact(probes: BlockProbes) -> str:
    certified = f"{probes.certified.double().mean():.2%} certified"
    if not probes.resolving_seconds:
        return certified
    return f"{certified}, the others resolved in {probes.resolving_seconds:.1f} s"


def look(stage: EvaluationStage) -> None:
    section = stage.params.prediction_depth
    stage.timing.unit, stage.timing.backend = "images", section.backend
    for network in stage.networks(section.generations):
        stage.write(network, evaluate(stage, network, section))


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("prediction_depth", arguments) as stage:
        look(stage)


if __name__ == "__main__":
    main()
