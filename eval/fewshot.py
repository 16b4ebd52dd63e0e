"""The stage `python -m eval.fewshot --run ARM-SEED --target DATASET`: Tables 4 and 5, linear heads on frozen features.

Images are shown as the CD-FSL benchmark shows them (Guo et al. 2020): enlarged by 1.15, cut to the packed size at the
centre, normalised as in training. They come from all splits of the pack (`images: all`) or from the 80% of each class
that STARTUP (Phoo and Hariharan 2021) does not leave unlabelled, drawn here by the seed (`startup`).
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from eval.episodes import Episodes, TooFewImages, drawn_share, orders, sample_episodes
from eval.evaluation import Evaluation, Skipped, evaluation_stage
from eval.features import plain_batches, pooled_features
from eval.heads import bytes_per_episode, draw_heads, head_accuracy, train_heads
from seal.data.batches import Batches
from seal.data.pack import SPLITS, Pack
from seal.evaluations import FewShot
from seal.models import ResNet
from seal.record import atomic
from seal.rng import stream
from seal.sections import Training

UNLABELLED = 0.2  # share of each class that STARTUP keeps for training without labels
SHOWN_AT_ONCE = 500
MB = 2**20

AfterEpoch = Callable[[], object]
Section = TypeVar("Section", bound=FewShot)


class Method(Protocol):
    """How a network learns an episode. Support [E, S] and query [E, Q] are positions of images, by class."""

    def bytes_per_episode(self, support: int, query: int) -> int: ...

    def accuracy(self, episodes: range, support: Tensor, query: Tensor, after_epoch: AfterEpoch) -> Tensor:
        """Of the episodes of these numbers on their queries, float64 [E]."""
        ...


def benchmark_images(pack: Pack, which: str, seed: int) -> tuple[Tensor, Tensor]:
    """Images uint8 [N, s, s, 3], all or those that STARTUP labels, as the benchmark shows them; and labels [N]."""
    splits = [pack[split] for split in SPLITS]
    images, labels = (torch.cat([getattr(split, key) for split in splits]) for key in ("images", "labels"))
    if which == "startup":
        labelled = ~drawn_share(labels, UNLABELLED, stream(seed, "unlabelled images"))
        images, labels = images[labelled], labels[labelled]
    return torch.cat([enlarged(some) for some in torch.split(images, SHOWN_AT_ONCE)]), labels


def batches_of(images: Tensor, batch_size: int, training: Training) -> Batches:
    """The images in batches, normalised; labels mean nothing."""
    nothing = torch.zeros(len(images))
    return plain_batches(
        images, nothing, batch_size=batch_size, mean=training.mean, std=training.std, device=images.device
    )


def enlarged(pixels: Tensor) -> Tensor:
    """uint8 [N, s, s, 3] resized to int(1.15 s), bilinear, and cut to s at the centre, as torchvision cuts."""
    size = pixels.shape[1]
    large = int(size * 1.15)
    start = round((large - size) / 2)
    x = interpolate(pixels.permute(0, 3, 1, 2).float(), (large, large), mode="bilinear", antialias=True)
    x = x[:, :, start : start + size, start : start + size].round_().clamp_(0, 255)
    return x.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def truth(n_way: int, images: Tensor) -> Tensor:
    """The labels within an episode of images [E, n_way * count], by class."""
    return torch.arange(n_way, device=images.device).repeat_interleave(images.shape[1] // n_way)


class LinearHeads:
    """Linear heads on the features of the frozen network, which are taken once for all episodes."""

    def __init__(self, section: FewShot, training: Training, model: ResNet, images: Tensor) -> None:
        self.section = section
        self.features, _ = pooled_features(model, batches_of(images, SHOWN_AT_ONCE, training))

    def bytes_per_episode(self, support: int, query: int) -> int:
        return bytes_per_episode(support, query, self.features.shape[1], self.section.n_way)

    def accuracy(self, episodes: range, support: Tensor, query: Tensor, after_epoch: AfterEpoch) -> Tensor:
        section, (size, width) = self.section, (support.shape[1], self.features.shape[1])
        heads = draw_heads(section.seed, episodes, section.n_way, width).to(support.device)
        order = orders(section.seed, episodes, size, section.epochs)
        labels = truth(section.n_way, support)
        heads = train_heads(self.features[support], labels, heads, order, section, after_epoch)
        return head_accuracy(self.features[query], truth(section.n_way, query), heads)


def accuracies(
    method: Method, episodes: Episodes, memory_mb: int, device: torch.device, after_epoch: Callable[[int], object]
) -> NDArray[np.float64]:
    """Of every episode, trained in runs that fit into the memory; `after_epoch` hears how many went through one."""
    support, query = (part.flatten(1).to(device) for part in (episodes.support, episodes.query))
    size = max(1, memory_mb * MB // method.bytes_per_episode(support.shape[1], query.shape[1]))
    parts = []
    for start in range(0, len(support), size):
        run = range(start, min(start + size, len(support)))
        chosen = slice(run.start, run.stop)
        parts.append(method.accuracy(run, support[chosen], query[chosen], partial(after_epoch, len(run))))
    return torch.cat(parts).cpu().numpy()


def evaluate(
    stage: Evaluation, section: Section, method: Callable[[Section, Training, ResNet, Tensor], Method]
) -> None:
    """Every number of shots for every network: sample the episodes, let the method learn them, write."""
    images, labels = benchmark_images(stage.pack, section.images, section.seed)
    images = images.to(stage.device)
    lists, too_few = sampled(labels, len(stage.pack.classes), section)
    if not lists:
        raise Skipped("; ".join(too_few.values()))
    stage.timing.unit, stage.timing.backend = "episodes", "batched"
    for network in stage.networks(section.generations):
        learner = method(section, stage.params.training, network.model, images)
        accuracy = {}
        for shots, episodes in lists.items():
            total = section.episodes * section.epochs
            task = stage.bar.add_task(f"generation {network.generation}, {shots} shots, episode-epochs", total=total)
            advance = partial(stage.bar.advance, task)
            accuracy[shots] = accuracies(learner, episodes, section.memory_mb, stage.device, advance)
            stage.timing.done += section.episodes
        values = {
            "shots": {shots: {"skipped": reason} for shots, reason in too_few.items()}
            | {shots: summary(values) for shots, values in accuracy.items()},
            "episodes_sha256": {shots: episodes.sha256 for shots, episodes in lists.items()},
            "left_out": {
                shots: [stage.pack.classes[label] for label in each.left_out] for shots, each in lists.items()
            },
        }
        arrays = {f"accuracy_{shots}": values for shots, values in accuracy.items()}
        stage.write(network, section.model_dump(mode="json"), values, arrays)
    keep_lists(stage, lists)


def sampled(labels: Tensor, classes: int, section: FewShot) -> tuple[dict[str, Episodes], dict[str, str]]:
    """The episodes of every number of shots, and why others have none."""
    lists, too_few = {}, {}
    for shots in section.shots:
        try:
            lists[str(shots)] = sample_episodes(
                labels, section.n_way, shots, section.n_query, section.episodes, section.seed, classes
            )
        except TooFewImages as reason:
            too_few[str(shots)] = str(reason)
    return lists, too_few


def keep_lists(stage: Evaluation, lists: dict[str, Episodes]) -> None:
    """episodes.npz: positions in the images that `images` names, in packed order."""
    arrays = {
        f"{part}_{shots}": getattr(episodes, part).numpy().astype(np.int32)
        for shots, episodes in lists.items()
        for part in ("classes", "support", "query")
    }
    with atomic(stage.folder / "episodes.npz") as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def summary(accuracy: NDArray[np.float64]) -> dict[str, Any]:
    """Mean over episodes and half the width of its 95% interval, as the benchmark prints them."""
    interval = 1.96 * accuracy.std() / math.sqrt(len(accuracy))
    return {"accuracy": float(accuracy.mean()), "interval": float(interval), "episodes": len(accuracy)}


def main(arguments: Sequence[str] | None = None) -> None:
    with evaluation_stage("fewshot", target=True, arguments=arguments) as stage:
        evaluate(stage, stage.params.fewshot, LinearHeads)


if __name__ == "__main__":
    main()
