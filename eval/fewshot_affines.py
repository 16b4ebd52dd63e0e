"""The stage `python -m eval.fewshot_affines --run ARM-SEED --target DATASET`: Tables 4 and 5, Linear+Affines.

As eval.fewshot, but each episode also trains the network's BatchNorm scales and shifts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from eval.affines import bytes_per_episode, refuse_other_networks, refuse_single_values, tune
from eval.episodes import orders
from eval.evaluation import EvaluationStage, evaluation_stage
from eval.features import Classifier
from eval.fewshot import AfterEpoch, batches_of, benchmark_of, evaluate, keep_episodes, truth
from eval.heads import draw_heads
from seal.errors import UserError
from seal.precision import computing

if TYPE_CHECKING:
    from seal.evaluations import FewShotAffines
    from seal.sections import Training


class HeadsAndAffines:
    """Heads, scales and shifts. Raises UserError for a network that `refuse_other_networks` refuses, and where batch
    statistics would be those of a single value."""

    def __init__(self, section: "FewShotAffines", training: "Training", model: Classifier, images: Tensor) -> None:
        self.section, self.model = section, model
        self.images = batches_of(images, section.batch_size, training)
        self.batch = self.pixels(torch.arange(section.batch_size, device=images.device) % len(images))
        self.batch_statistics = section.statistics == "benchmark"
        sizes = [section.n_way * shots for shots in section.shots]
        try:
            if self.batch_statistics:
                refuse_single_values(model, self.batch[:1], sizes, section.batch_size)
            refuse_other_networks(model, self.pixels(torch.arange(2, device=images.device) % len(images)))
        except ValueError as error:
            raise UserError(f"fewshot_affines: {error}") from None

    def pixels(self, at: Tensor) -> Tensor:
        """The images of these positions [N], float [N, 3, H, W]."""
        return self.images.at(at)

    def bytes_per_episode(self, support: int, query: int) -> int:
        return bytes_per_episode(self.model, self.batch, self.section.n_way, self.batch_statistics)

    def accuracy(self, episodes: range, support: Tensor, query: Tensor, after_epoch: AfterEpoch) -> Tensor:
        section = self.section
        heads = draw_heads(section.seed, episodes, section.n_way, self.model.fc.in_features).to(support.device)
        order = orders(section.seed, episodes, support.shape[1], section.epochs)
        labels = truth(section.n_way, support)
        with computing(section.precision, support.device):
            tuned = tune(self.model, self.pixels, support, labels, heads, order, section, after_epoch)
            return tuned.accuracy(self.pixels, query, truth(section.n_way, query), section.batch_size)


def look(stage: EvaluationStage) -> None:
    section = stage.params.fewshot_affines
    stage.timing.unit, stage.timing.backend = "episodes", "batched"
    benchmark = benchmark_of(stage, section)
    for network in stage.networks(section.generations):
        learner = HeadsAndAffines(section, stage.run.training, network.model, benchmark.images)
        stage.write(network, evaluate(stage, network, section, benchmark, learner))
    keep_episodes(stage, benchmark)


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("fewshot_affines", arguments) as stage:
        look(stage)


if __name__ == "__main__":
    main()
