"""Which images an evaluation looks at: few-shot episodes, and shares of every class. Functions of labels and a seed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seal.rng import stream


@dataclass(frozen=True)
class TooFewImages:
    """Why there are no episodes: fewer than n_way classes have k_shot + n_query images."""

    reason: str


@dataclass(frozen=True)
class Episodes:
    """A list of few-shot tasks. A class's position in `classes` is its label within the episode."""

    classes: Tensor  # int64 [E, n_way], of the dataset
    support: Tensor  # int64 [E, n_way, k_shot], positions of images
    query: Tensor  # int64 [E, n_way, n_query]
    left_out: list[int]  # classes with too few images

    @property
    def sha256(self) -> str:
        """Of the list: classes, support, query, as little-endian int64."""
        digest = hashlib.sha256()
        for part in (self.classes, self.support, self.query):
            digest.update(part.numpy().astype("<i8").tobytes())
        return digest.hexdigest()


def sample_episodes(
    labels: Tensor, n_way: int, k_shot: int, n_query: int, n_episodes: int, seed: int, classes: int | None = None
) -> Episodes | TooFewImages:
    """Draw episodes from images with these labels [N]; the same list for every network (section 4.1).

    Episode e is a function of (labels, seed, e), so that fewer episodes are the first of more. A class's query images
    are drawn before its support: they are the same for every k_shot for which the same classes are left. Classes with
    fewer than k_shot + n_query images are left out, and there are none where less than n_way are left. `classes` is
    their number, if the last of them may have no image.
    """
    needed = k_shot + n_query
    counts = torch.bincount(labels, minlength=classes or 0)
    enough = counts >= needed
    if int(enough.sum()) < n_way:
        return TooFewImages(
            f"{int(enough.sum())} of {len(counts)} classes have {needed} images, "
            f"expected at least {n_way} for {n_way}-way {k_shot}-shot with {n_query} queries"
        )

    candidates = enough.nonzero()[:, 0]
    images = [(labels == label).nonzero()[:, 0] for label in range(len(counts))]
    chosen, drawn = [], []
    for episode in range(n_episodes):
        generator = stream(seed, "episode", episode)
        of_episode = _some(candidates, n_way, generator)
        chosen.append(of_episode)
        drawn.append(torch.stack([_some(images[label], needed, generator) for label in of_episode.tolist()]))

    query, support = torch.split(torch.stack(drawn), [n_query, k_shot], dim=2)
    return Episodes(torch.stack(chosen), support.contiguous(), query.contiguous(), (~enough).nonzero()[:, 0].tolist())


def _some(positions: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return positions[torch.randperm(len(positions), generator=generator)[:count]]


def orders(seed: int, episodes: Sequence[int], size: int, epochs: int) -> Iterator[Tensor]:
    """For each epoch the order of the support images, int64 [E, size]; a function of (seed, episode's number, size)."""
    generators = [stream(seed, "order", episode) for episode in episodes]
    for _ in range(epochs):
        yield torch.stack([torch.randperm(size, generator=generator) for generator in generators])


def drawn_share(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """True for that share of each class's images, rounded, at random; bool [N]."""
    drawn = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(len(torch.bincount(labels))):
        images = (labels == label).nonzero()[:, 0]
        drawn[_some(images, round(share * len(images)), generator)] = True
    return drawn
