"""Nearest-neighbour probes on every block of a frozen network, and the prediction depth that follows from their votes.

A block's output for all test images stays in memory; the training set goes through the network, and each batch is
searched by the blocks as it passes. ResNet-50 has 450,560 features an image at 64x64: nothing is stored. Where the test
images' features of all blocks do not fit into `memory_mb`, the blocks take turns, a pass of the training set each.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from eval.features import Classifier, outputs_of, require_evaluation_mode, require_plain
from eval.knn import MB, Search, least_work
from seal.data.batches import Batch, Batches
from seal.errors import UserError
from seal.precision import computing

if TYPE_CHECKING:
    from seal.evaluations import PredictionDepth

Watch = Callable[[Iterable[Batch], str, int], Iterable[Batch]]  # (batches, what for, how many): shows progress


@dataclass(frozen=True)
class BlockProbes:
    """What the nearest training images say of each test image, by each of B blocks."""

    votes: Tensor  # int64 [N, B]
    prediction: Tensor  # int64 [N], the network's own
    certified: Tensor  # bool [N, B], proven by the first pass
    passes: int  # of the training set through the network, the second ones included
    resolving_seconds: float  # of those


def vote(labels: Tensor) -> Tensor:
    """The majority [Q] of the neighbours' labels [Q, k], nearest first; of tied classes, the one whose nearest member
    is nearest."""
    members = (labels[:, :, None] == labels[:, None, :]).sum(2)  # of each neighbour's class
    return labels.gather(1, members.argmax(1, keepdim=True))[:, 0]  # the first of the largest


def prediction_depth(votes: Tensor, prediction: Tensor) -> Tensor:
    """The least l for which the probes l..B-1 all agree with the prediction, int64 [N], of votes [N, B].

    B where the last probe differs, so that only the output gives the prediction; 0 where all agree. Blocks are counted
    from 0 (Baldock et al. 2021, section 2; section 5).
    """
    agree = votes == prediction[:, None]
    return votes.shape[1] - agree.flip(1).cumprod(1).sum(1)


def block_features(output: Tensor, features: Literal["flat", "pooled"], metric: Literal["l2", "cosine"]) -> Tensor:
    """A block's output [N, C, H, W], or [N, tokens, C], as rows: all of it, or its mean over places. Rows of length 1
    where the metric is `cosine`: their squared distance is 2 - 2 cos."""
    places = (2, 3) if output.ndim == 4 else (1,)
    rows = output.flatten(1) if features == "flat" or output.ndim == 2 else output.mean(places)
    return normalize(rows, dim=1) if metric == "cosine" else rows


def unwatched(batches: Iterable[Batch], words: str, count: int) -> Iterable[Batch]:
    return batches


def probe(
    model: Classifier, blocks: Sequence[str], train: Batches, test: Batches, params: "PredictionDepth",
    watch: Watch = unwatched,
) -> BlockProbes:  # fmt: skip
    """Search all of `train` for the neighbours of all of `test` by the outputs of the modules `blocks`.

    Exact, as eval/knn.py defines it. Raises ValueError for a network in training mode and for augmented images, and
    UserError where `memory_mb` cannot hold a single block's search, there are too few training images, or a feature is
    not finite.
    """
    require_evaluation_mode(model)
    require_plain(train)
    require_plain(test)
    images, queries = len(train.images), len(test.images)
    if images < params.neighbours:
        raise UserError(
            f"prediction_depth.neighbours is {params.neighbours}, expected at most {images}, the training images"
        )

    batch = min(train.batch_size, images)
    counts = feature_counts(model, blocks, test, params)
    groups = blocks_at_once(counts, queries, batch, params, test.images.device)
    votes, certified = [], []
    passes, resolving_seconds = 0, 0.0
    for number, group in enumerate(groups, start=1):
        turn = f", blocks {number}/{len(groups)}" if len(groups) > 1 else ""
        searches, prediction = searches_of(model, {name: counts[name] for name in group}, test, params, watch, turn)
        work_bytes = params.memory_mb * MB - resident(counts, group, queries, batch)
        feed(model, searches, train, params, work_bytes, watch, f"training images{turn}")
        passes += 1

        unresolved = {name: search for name, search in searches.items() if not search.done}
        if unresolved:
            began = time.perf_counter()
            feed(model, unresolved, train, params, work_bytes, watch, f"training images again{turn}")
            resolving_seconds += time.perf_counter() - began
            passes += 1

        for search in searches.values():
            certified.append(search.certified)
            votes.append(vote(train.labels[search.nearest.indices]))
    return BlockProbes(torch.stack(votes, 1), prediction, torch.stack(certified, 1), passes, resolving_seconds)


@torch.no_grad()
def feature_counts(
    model: Classifier, blocks: Sequence[str], images: Batches, params: "PredictionDepth"
) -> dict[str, int]:
    """How many features each block gives for an image."""
    with outputs_of(model, blocks) as outputs:
        model(next(iter(images.clean(1)))[0])
    return {name: block_features(outputs[name], params.features, params.metric).shape[1] for name in blocks}


def resident(counts: Mapping[str, int], group: Sequence[str], queries: int, batch: int) -> int:
    """Bytes of the test images' features and of one batch's, for a group of blocks."""
    return 4 * (queries + batch) * sum(counts[name] for name in group)


def blocks_at_once(
    counts: Mapping[str, int], queries: int, batch: int, params: "PredictionDepth", device: torch.device
) -> list[list[str]]:
    """The blocks in groups, as few as `memory_mb` allows, each to be served by one pass of the training set.

    Raises UserError where a block alone is too large.
    """

    def need(group: Sequence[str]) -> int:
        work = max(least_work(batch, counts[name], params.slice_width, device) for name in group)
        return resident(counts, group, queries, batch) + work

    groups: list[list[str]] = []
    for name in counts:
        if need([name]) > params.memory_mb * MB:
            raise UserError(
                f"prediction_depth.memory_mb is {params.memory_mb}, expected at least {need([name]) / MB:.0f} for "
                f"{queries} test images of {counts[name]} features in {name} and batches of {batch}; raise it, or "
                "lower batch_size or test_images"
            )
        if groups and need([*groups[-1], name]) <= params.memory_mb * MB:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


@torch.no_grad()
def searches_of(
    model: Classifier, counts: Mapping[str, int], test: Batches, params: "PredictionDepth", watch: Watch, turn: str
) -> tuple[dict[str, Search], Tensor]:
    """A search for each block, of the neighbours of every test image; and the network's predictions [N]."""
    total = len(test.images)
    rows = {name: torch.empty(total, count, device=test.images.device) for name, count in counts.items()}
    prediction = torch.empty(total, dtype=torch.int64, device=test.images.device)
    first = 0
    with outputs_of(model, list(counts)) as outputs:
        for x, _ in watch(test.clean(), f"test images{turn}", len(test)):
            here = slice(first, first + len(x))
            with computing(params.precision, x.device):
                prediction[here] = model(x).argmax(1)
            for name, of_block in rows.items():
                of_block[here] = block_features(outputs.pop(name), params.features, params.metric)
            first += len(x)

    searches = {}
    for name, of_block in rows.items():
        searches[name] = Search(
            of_block, params.neighbours, backend=params.backend, spare=params.spare, width=params.slice_width
        )
    return searches, prediction


@torch.no_grad()
def feed(
    model: Classifier, searches: Mapping[str, Search], train: Batches, params: "PredictionDepth", work_bytes: float,
    watch: Watch, words: str,
) -> None:  # fmt: skip
    """One pass of the training images through the network and the searches."""
    first = 0
    with outputs_of(model, list(searches)) as outputs:
        for x, _ in watch(train.clean(), words, len(train)):
            with computing(params.precision, x.device):
                model(x)
            for name, search in searches.items():
                search.add(block_features(outputs.pop(name), params.features, params.metric), first, work_bytes)
            first += len(x)

    for search in searches.values():
        search.end_pass()
