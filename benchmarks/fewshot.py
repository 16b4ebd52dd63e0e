"""Few-shot episodes one by one and all at once, side by side.

    python -m benchmarks.fewshot [--rounds 3] [--episodes 600] [--affine-episodes 32] [--affine-epochs 2]

Linear heads: 5-way 5-shot on cached features of 512 channels, the paper tier's protocol. The plain loop trains
`--sample` of the episodes and its time is scaled to all. Heads with BatchNorm scales and shifts: a ResNet-18 of width
16 with the ImageNet stem on 64x64 images (the mini tier's), `--affine-epochs` of the 100 epochs; the plain loop trains
`--affine-sample` episodes. Loops take turns, so that a noisy neighbour meets both. Prints medians of rounds, ratios,
operators that torch dispatched for an episode's step, and the process's peak memory after each part.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from eval.affines import bytes_per_episode, tune
from eval.episodes import orders
from eval.heads import draw_heads, train_heads
from seal.evaluations import FewShot, FewShotAffines
from seal.models import ResNet, build
from seal.processor import cpu_name
from seal.rng import stream
from seal.tiers import tier_params

N_WAY, SHOTS, BATCH = 5, 5, 4
Train = Callable[[list[Tensor]], None]  # given int64 [episodes, size] for each epoch


def linear_layer(head: Tensor) -> nn.Linear:
    """A head [n_way, features + 1] as torch's layer."""
    layer = nn.Linear(head.shape[1] - 1, head.shape[0], dtype=head.dtype)
    with torch.no_grad():
        layer.weight.copy_(head[:, :-1])
        layer.bias.copy_(head[:, -1])
    return layer


def head_optimizer(layer: nn.Linear, protocol: FewShot) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        layer.parameters(), protocol.learning_rate, protocol.momentum, protocol.dampening, protocol.weight_decay
    )


def plain_head(features: Tensor, labels: Tensor, head: Tensor, order: Iterable[Tensor], protocol: FewShot) -> nn.Linear:
    """One episode's head on its support's features [S, D], as the CD-FSL benchmark trains it."""
    layer = linear_layer(head)
    optimizer = head_optimizer(layer, protocol)
    for permutation in order:
        for batch in permutation.split(protocol.batch_size):
            optimizer.zero_grad()
            cross_entropy(layer(features[batch]), labels[batch]).backward()
            optimizer.step()
    return layer


def plain_affines(
    model: ResNet, images: Tensor, labels: Tensor, head: Tensor, order: Iterable[Tensor], protocol: FewShotAffines
) -> tuple[ResNet, nn.Linear]:
    """One episode's head and BatchNorm scales and shifts on its support images [S, 3, H, W], by two optimizers."""
    network, layer = deepcopy(model).requires_grad_(False), linear_layer(head)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    affines = [parameter.requires_grad_() for norm in norms for parameter in norm.parameters()]
    optimizers = [head_optimizer(layer, protocol), torch.optim.SGD(affines, protocol.affine_learning_rate)]
    network.train(protocol.statistics == "benchmark")
    for permutation in order:
        for batch in permutation.split(protocol.batch_size):
            for optimizer in optimizers:
                optimizer.zero_grad()
            cross_entropy(layer(network.features(images[batch])), labels[batch]).backward()
            for optimizer in optimizers:
                optimizer.step()
    return network, layer


class Count(TorchDispatchMode):
    """Counts the operators that torch dispatches inside the block, backward included, but those that only view."""

    operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += not (func.is_view or func is torch.ops.aten._unsafe_view.default)
        return func(*args, **(kwargs or {}))


def counted(train: Train, orders: list[Tensor]) -> int:
    with Count() as count:
        train(orders)
    return count.operators


def compare(title: str, rounds: int, epochs: int, loop: Train, sample: int, batched: Train, episodes: int) -> None:
    """Time both in turns, drawing the orders included; count the operators of the steps that one more epoch makes."""
    size, steps = N_WAY * SHOTS, -(-N_WAY * SHOTS // BATCH)
    print(f"\n{title}")
    loop([torch.arange(size)[None]])  # torch imports much at its first optimizer
    seconds: dict[str, list[float]] = {"loop": [], "batched": []}
    for _ in range(rounds):
        for name, train, count in (("loop", loop, sample), ("batched", batched, episodes)):
            began = time.perf_counter()
            train(list(orders(0, range(count), size, epochs)))
            seconds[name].append((time.perf_counter() - began) / count)
    for (name, values), count in zip(seconds.items(), (sample, episodes), strict=True):
        each = statistics.median(values)
        print(f"{name:8} {1e3 * each:8.2f} ms an episode of {count}, {each * episodes:7.2f} s for {episodes}")
    ratios = [a / b for a, b in zip(seconds["loop"], seconds["batched"], strict=True)]
    print(f"ratio    {statistics.median(ratios):8.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    plain, packed = (
        (
            counted(train, list(orders(0, range(count), size, 2)))
            - counted(train, list(orders(0, range(count), size, 1)))
        )
        / (steps * count)
        for train, count in ((loop, 1), (batched, episodes))
    )
    print(f"operators an episode and step: {plain:.1f} and {packed:.3f}, {plain / packed:.0f} times fewer")
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def heads(arguments: argparse.Namespace, protocol: FewShot) -> None:
    count, width = arguments.episodes, 512
    labels = torch.arange(N_WAY).repeat_interleave(SHOTS)
    features = torch.rand(count, len(labels), width, generator=stream(0, "benchmark"))
    drawn = draw_heads(0, range(count), N_WAY, width)

    def loop(orders: list[Tensor]) -> None:
        for episode in range(orders[0].shape[0]):
            order = (each[episode] for each in orders)
            plain_head(features[episode], labels, drawn[episode], order, protocol)

    def batched(orders: list[Tensor]) -> None:
        train_heads(features, labels, drawn, orders, protocol)

    title = f"linear heads, {N_WAY}-way {SHOTS}-shot, {width} features, {protocol.epochs} epochs"
    compare(title, arguments.rounds, protocol.epochs, loop, arguments.sample, batched, count)


def affines(arguments: argparse.Namespace, protocol: FewShotAffines) -> None:
    mini = tier_params("mini").model
    model = build(mini, 20, stream(0, "benchmark")).eval().requires_grad_(False)
    count = arguments.affine_episodes
    labels = torch.arange(N_WAY).repeat_interleave(SHOTS)
    support = torch.arange(count * len(labels)).view(count, len(labels))
    images = torch.rand(support.numel(), 3, 64, 64, generator=stream(0, "benchmark"))
    drawn = draw_heads(0, range(count), N_WAY, model.fc.in_features)

    def loop(orders: list[Tensor]) -> None:
        for episode in range(orders[0].shape[0]):
            order = (each[episode] for each in orders)
            plain_affines(model, images[support[episode]], labels, drawn[episode], order, protocol)

    def batched(orders: list[Tensor]) -> None:
        tune(model, images.__getitem__, support, labels, drawn, orders, protocol)

    title = f"heads and affines, ResNet-{mini.depth} of width {mini.width}, 64x64, {protocol.epochs} epochs"
    compare(title, arguments.rounds, protocol.epochs, loop, arguments.affine_sample, batched, count)
    each = bytes_per_episode(model, images[:BATCH], N_WAY, protocol.statistics == "benchmark")
    print(f"planned for {count} episodes: {count * each / 2**20:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--sample", type=int, default=20)
    parser.add_argument("--affine-episodes", type=int, default=32)
    parser.add_argument("--affine-sample", type=int, default=4)
    parser.add_argument("--affine-epochs", type=int, default=2)
    arguments = parser.parse_args()
    paper = tier_params("paper")
    print(
        f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"medians of {arguments.rounds} rounds"
    )
    heads(arguments, paper.fewshot)
    affines(arguments, paper.fewshot_affines.model_copy(update={"epochs": arguments.affine_epochs}))


if __name__ == "__main__":
    main()
