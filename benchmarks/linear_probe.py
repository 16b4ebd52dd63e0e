"""The linear probe with its learning rates side by side in one matrix, and one by one by torch.optim.SGD.

    python -m benchmarks.linear_probe [--images 10000] [--features 512] [--classes 20 200] [--epochs 120]

Both train at the three rates of the paper, batch 32, on features made here. `--sample` epochs of each are timed, after
one to warm up, and scaled to all.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from eval.linear_probe import draw_layer, train_probes
from seal.evaluations import Transfer
from seal.processor import cpu_name
from seal.rng import stream
from seal.tiers import tier_params


def plain(protocol: Transfer, x: Tensor, y: Tensor, classes: int, epochs: int) -> None:
    for rate in protocol.learning_rates:
        layer = nn.Linear(x.shape[1], classes)
        optimizer = torch.optim.SGD(layer.parameters(), rate, protocol.momentum, weight_decay=protocol.weight_decay)
        for epoch in range(epochs):
            for batch in torch.randperm(len(x), generator=stream(0, "order", epoch)).split(protocol.batch_size):
                optimizer.zero_grad()
                cross_entropy(layer(x[batch]), y[batch]).backward()
                optimizer.step()


def together(protocol: Transfer, x: Tensor, y: Tensor, classes: int, epochs: int) -> None:
    train_probes(
        x, y, draw_layer(0, x.shape[1], classes), protocol.learning_rates, [], epochs=epochs,
        batch_size=protocol.batch_size, momentum=protocol.momentum, weight_decay=protocol.weight_decay, seed=0,
    )  # fmt: skip


def seconds(train: Callable[..., None], epochs: int, *problem: object) -> float:
    train(*problem, 1)
    began = time.perf_counter()
    train(*problem, epochs)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--classes", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--sample", type=int, default=4)
    arguments = parser.parse_args()
    protocol, images, scale = tier_params("paper").transfer, arguments.images, arguments.epochs
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{images} images, {arguments.features} features, rates {protocol.learning_rates}, {scale} epochs")
    x = torch.rand(images, arguments.features, generator=stream(0, "benchmark"))
    for classes in arguments.classes:
        y = torch.randint(classes, (images,), generator=stream(1, "benchmark"))
        one, both = (
            seconds(train, arguments.sample, protocol, x, y, classes) * scale / arguments.sample
            for train in (plain, together)
        )
        print(f"{classes:4} classes: one by one {one:6.1f} s, together {both:6.1f} s, {one / both:.1f}x")


if __name__ == "__main__":
    main()
