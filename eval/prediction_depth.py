"""Prediction depth, section 5, Figures 2 and 3: the stage `python -m eval.prediction_depth --run ARM-SEED`.

Figures 2 and 3 plot the probes' accuracy against the true label, block by block (`knn_accuracy`); depth is per image.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eval.evaluation import Evaluation, Network, evaluation_stage
from eval.features import plain_batches
from eval.probes import Probes, prediction_depth, probe
from seal.data.batches import Batch, Batches
from seal.data.pack import Split
from seal.errors import UserError
from seal.models import block_names


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


def depth_values(probes: Probes, depth: Tensor, labels: Tensor, blocks: Sequence[str]) -> dict[str, Any]:
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


def evaluate(stage: Evaluation, network: Network) -> None:
    params, training = stage.params.prediction_depth, stage.run.training

    def images(split: Split, count: int | None, kind: str) -> Batches:
        chosen = each_class_in_turn(split.labels, count)
        if not len(chosen):
            raise UserError(f"{stage.pack.path}: found no {kind} images, expected some; see datasets in params.yaml")
        return plain_batches(
            split.images[chosen], split.labels[chosen], batch_size=params.batch_size,
            mean=training.mean, std=training.std, device=stage.device,
        )  # fmt: skip

    def watch(batches: Iterable[Batch], words: str, count: int) -> Iterable[Batch]:
        return stage.bar.track(batches, total=count, description=f"generation {network.generation}, {words}")

    train = images(stage.pack["train"], params.train_images, "training")
    test = images(stage.pack["test"], params.test_images, "test")
    names = block_names(stage.run.model)
    probes = probe(network.model, list(names.values()), train, test, params, watch)
    reference = probes.prediction if params.reference == "model" else probes.votes[:, -1]
    depth = prediction_depth(probes.votes, reference)
    values = depth_values(probes, depth, test.labels, list(names))
    arrays: dict[str, NDArray[Any]] = {
        "votes": probes.votes.cpu().numpy().astype(np.int16),
        "labels": np.asarray(test.labels, np.int16),
        "depth": depth.cpu().numpy().astype(np.uint8),
    }
    used = {
        "mean": training.mean,
        "std": training.std,
        "images": {"train": len(train.images), "test": len(test.images)},
    }
    stage.write(network, params.model_dump() | used, values, arrays)
    stage.timing.done += len(train.images) * probes.passes + len(test.images)
    certified = f"{probes.certified.double().mean():.2%} certified"
    again = f", the others resolved in {probes.resolving_seconds:.1f} s" if probes.resolving_seconds else ""
    words = f"{stage.folder}: generation {network.generation}: {certified}{again}"
    stage.bar.console.print(words, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("prediction_depth", target=False, arguments=arguments) as stage:
        stage.timing.unit, stage.timing.backend = "images", stage.params.prediction_depth.backend
        for network in stage.networks(stage.params.prediction_depth.generations):
            evaluate(stage, network)


if __name__ == "__main__":
    main()
