"""The stage `python -m eval.fewshot --run ARM-SEED --target DATASET`: Tables 4 and 5, linear heads on frozen features.

Images are shown as the CD-FSL benchmark shows them (Guo et al. 2020): enlarged by 1.15, cut to the packed size at the
centre, normalised as in training. They come from all splits of the pack (`images: all`) or, drawn here by the seed,
from as large a share of them as STARTUP (Phoo and Hariharan 2021) does not leave unlabelled (`startup`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from eval.episodes import Episodes, TooFewImages, orders, sample_episodes
from eval.evaluation import EvaluationStage, Findings, Skipped, evaluation_stage
from eval.features import Classifier, plain_batches, pooled_features
from eval.heads import bytes_per_episode, draw_heads, head_accuracy, train_heads
from eval.networks import TrainedNetwork
from eval.written import write_arrays
from seal.data.batches import Batches
from seal.data.pack import SPLITS, Pack
from seal.rng import stream

if TYPE_CHECKING:
    from seal.evaluations import FewShot
    from seal.sections import Training

UNLABELLED = 0.2  # share of all images, whatever their class, that STARTUP keeps for training without labels
SHOWN_AT_ONCE = 500
MB = 2**20

AfterEpoch = Callable[[], object]


class Learner(Protocol):
    """How a network learns an episode. Support [E, S] and query [E, Q] are positions of images, by class."""

    def bytes_per_episode(self, support: int, query: int) -> int: ...

    def accuracy(self, episodes: range, support: Tensor, query: Tensor, after_epoch: AfterEpoch) -> Tensor:
        """Of the episodes of these numbers on their queries, float64 [E]."""
        ...


@dataclass(frozen=True)
class Benchmark:
    """A target's images as the benchmark shows them, and its episodes by number of shots."""

    images: Tensor  # uint8 [N, s, s, 3], on the device
    episodes: dict[str, Episodes]
    too_few: dict[str, str]  # number of shots -> why it has no episodes


def benchmark_of(stage: EvaluationStage, section: "FewShot") -> Benchmark:
    """The same for every network. Raises Skipped where no number of shots has enough images."""
    images, labels = benchmark_images(stage.pack, section.images, section.seed)
    episodes: dict[str, Episodes] = {}
    too_few: dict[str, str] = {}
    for shots in section.shots:
        drawn = sample_episodes(
            labels, section.n_way, shots, section.n_query, section.episodes, section.seed, len(stage.pack.classes)
        )
        if isinstance(drawn, TooFewImages):
            too_few[str(shots)] = drawn.reason
        else:
            episodes[str(shots)] = drawn

    if not episodes:
        raise Skipped("; ".join(too_few.values()))
    return Benchmark(images.to(stage.device), episodes, too_few)


def benchmark_images(pack: Pack, which: str, seed: int) -> tuple[Tensor, Tensor]:
    """Images uint8 [N, s, s, 3], all or those that STARTUP labels, as the benchmark shows them; and labels [N]."""
    splits = [pack[split] for split in SPLITS]
    images = torch.cat([split.images for split in splits])
    labels = torch.cat([split.labels for split in splits])
    if which == "startup":
        order = torch.randperm(len(labels), generator=stream(seed, "unlabelled images"))
        labelled = order[round(UNLABELLED * len(labels)) :].sort().values
        images, labels = images[labelled], labels[labelled]

    return torch.cat([enlarged(part) for part in torch.split(images, SHOWN_AT_ONCE)]), labels


def enlarged(pixels: Tensor) -> Tensor:
    """uint8 [N, s, s, 3] resized to int(1.15 s), bilinear, and cut to s at the centre, as torchvision cuts."""
    size = pixels.shape[1]
    large = int(size * 1.15)
    start = round((large - size) / 2)
    x = interpolate(pixels.permute(0, 3, 1, 2).float(), (large, large), mode="bilinear", antialias=True)
    x = x[:, :, start : start + size, start : start + size].round_().clamp_(0, 255)
    return x.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def batches_of(images: Tensor, batch_size: int, training: "Training") -> Batches:
    """The images in batches, normalised; labels mean nothing."""
    nothing = torch.zeros(len(images))
    return plain_batches(
        images, nothing, batch_size=batch_size, mean=training.mean, std=training.std, device=images.device
    )


def evaluate(
    stage: EvaluationStage, network: TrainedNetwork, section: "FewShot", benchmark: Benchmark, learner: Learner
) -> Findings:
    """Every number of shots: let the network learn the episodes."""
    accuracy, sha256, left_out = {}, {}, {}
    by_shots: dict[str, Any] = {shots: {"skipped": reason} for shots, reason in benchmark.too_few.items()}
    for shots, episodes in benchmark.episodes.items():
        description = f"generation {network.generation}, {shots} shots, episode-epochs"
        task = stage.bar.add_task(description, total=section.episodes * section.epochs)
        advance = partial(stage.bar.advance, task)
        accuracy[shots] = accuracies(learner, episodes, section.memory_mb, stage.device, advance)

        by_shots[shots] = summary(accuracy[shots])
        sha256[shots] = episodes.sha256
        left_out[shots] = [stage.pack.classes[label] for label in episodes.left_out]

    return Findings(
        {"shots": by_shots, "episodes_sha256": sha256, "left_out": left_out},
        {f"accuracy_{shots}": values for shots, values in accuracy.items()},
        params=section.model_dump(mode="json"),
        work=section.episodes * len(accuracy),
    )


def accuracies(
    learner: Learner, episodes: Episodes, memory_mb: int, device: torch.device, after_epoch: Callable[[int], object]
) -> NDArray[np.float64]:
    """Of every episode, trained in runs that fit into the memory; `after_epoch` hears how many went through one."""
    support, query = episodes.support.flatten(1).to(device), episodes.query.flatten(1).to(device)
    size = max(1, memory_mb * MB // learner.bytes_per_episode(support.shape[1], query.shape[1]))
    parts = []
    for start in range(0, len(support), size):
        run = range(start, min(start + size, len(support)))
        chosen = slice(run.start, run.stop)
        parts.append(learner.accuracy(run, support[chosen], query[chosen], partial(after_epoch, len(run))))
    return torch.cat(parts).cpu().numpy()


def summary(accuracy: NDArray[np.float64]) -> dict[str, Any]:
    """Mean over episodes and half the width of its 95% interval, as the benchmark prints them."""
    interval = 1.96 * accuracy.std() / math.sqrt(len(accuracy))
    return {"accuracy": float(accuracy.mean()), "interval": float(interval), "episodes": len(accuracy)}


def truth(n_way: int, images: Tensor) -> Tensor:
    """The labels within an episode of images [E, n_way * count], by class."""
    return torch.arange(n_way, device=images.device).repeat_interleave(images.shape[1] // n_way)


class LinearHeads:
    """Linear heads on the features of the frozen network, which are taken once for all episodes."""

    def __init__(self, section: "FewShot", training: "Training", model: Classifier, images: Tensor) -> None:
        self.section = section
        self.features, _ = pooled_features(model, batches_of(images, SHOWN_AT_ONCE, training), section.precision)

    def bytes_per_episode(self, support: int, query: int) -> int:
        return bytes_per_episode(support, query, self.features.shape[1], self.section.n_way)

    def accuracy(self, episodes: range, support: Tensor, query: Tensor, after_epoch: AfterEpoch) -> Tensor:
        section, (size, width) = self.section, (support.shape[1], self.features.shape[1])
        heads = draw_heads(section.seed, episodes, section.n_way, width).to(support.device)
        order = orders(section.seed, episodes, size, section.epochs)
        labels = truth(section.n_way, support)
        heads = train_heads(self.features[support], labels, heads, order, section, after_epoch)
        return head_accuracy(self.features[query], truth(section.n_way, query), heads)


def keep_episodes(stage: EvaluationStage, benchmark: Benchmark) -> None:
    """episodes.npz: positions in the images that `images` names, in packed order."""
    arrays: dict[str, NDArray[np.int32]] = {}
    for shots, episodes in benchmark.episodes.items():
        parts = {"classes": episodes.classes, "support": episodes.support, "query": episodes.query}
        arrays |= {f"{name}_{shots}": part.numpy().astype(np.int32) for name, part in parts.items()}
    write_arrays(stage.written / "episodes.npz", arrays)


def look(stage: EvaluationStage) -> None:
    section = stage.params.fewshot
    stage.timing.unit, stage.timing.backend = "episodes", "batched"
    benchmark = benchmark_of(stage, section)
    for network in stage.networks(section.generations):
        learner = LinearHeads(section, stage.run.training, network.model, benchmark.images)
        stage.write(network, evaluate(stage, network, section, benchmark, learner))
    keep_episodes(stage, benchmark)


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("fewshot", arguments) as stage:
        look(stage)


if __name__ == "__main__":
    main()
