"""Linear heads of many few-shot episodes, trained at once by the updates that torch.optim.SGD makes one by one.

A head W [n_way, features + 1] (weights, then bias) starts at W0 and moves by gradients G^T X, in the span of its
support images X [S, features + 1] (a last feature of ones). Momentum and weight decay keep it there: W = a W0 + C X,
with C [n_way, S], and `a` the same for every episode. So training needs no more of the features than their products
X X^T [S, S]: a step costs S multiplications an image and class, not `features`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from seal.rng import stream

if TYPE_CHECKING:
    from seal.evaluations import FewShot

FLOAT = 4


def draw_heads(seed: int, episodes: Sequence[int], n_way: int, features: int) -> Tensor:
    """Linear layers as torch.nn.Linear starts them, float32 [E, n_way, features + 1], the last column the bias.

    Each is a function of (seed, episode's number, n_way, features): the same for every network.
    """
    bound = features**-0.5
    heads = torch.empty(len(episodes), n_way, features + 1)
    for head, episode in zip(heads, episodes, strict=True):
        head.uniform_(-bound, bound, generator=stream(seed, "head", episode))
    return heads


def bytes_per_episode(support: int, query: int, features: int, n_way: int) -> int:
    """Memory of an episode in train_heads and head_accuracy, float32: images, heads, products, what a step makes."""
    images = 2 * (support + query) * (features + 1) + 2 * n_way * (features + 1)
    return FLOAT * (images + 2 * support * support + 8 * support * n_way)


def train_heads(
    features: Tensor, labels: Tensor, heads: Tensor, orders: Iterable[Tensor], protocol: "FewShot",
    after_epoch: Callable[[], object] = lambda: None,
) -> Tensor:  # fmt: skip
    """Train a head for each episode on its support images, by plain cross-entropy; returns heads like `heads`.

    `features` [E, S, features]; `labels` int64 [S] in 0..n_way-1, the same for every episode; `heads` [E, n_way,
    features + 1] are not changed; `orders` int64 [E, S] for each epoch. SGD as in torch: the last batch may be smaller,
    the first gradient enters the momentum undamped, and weights and biases decay.
    """
    (episodes, count, _), n_way, device = features.shape, heads.shape[1], features.device
    rate, decay, mu = protocol.learning_rate, protocol.weight_decay, protocol.momentum
    x = pad(features, (0, 1), value=1.0)
    targets = one_hot(labels, n_way).to(x.dtype)
    products = (x @ x.mT).flatten(0, 1)  # [E * S, S]
    drawn_logits = heads @ x.mT  # [E, n_way, S], by W0
    first_row = torch.arange(episodes, device=device)[:, None] * count

    within = torch.zeros_like(drawn_logits)  # C
    momentum = torch.zeros_like(within)
    drawn, drawn_momentum = 1.0, 0.0  # a, and its momentum
    fresh = 1.0  # share of a gradient that enters the momentum

    for order in orders:
        for batch in torch.split(order.to(device), protocol.batch_size, dim=1):
            size = batch.shape[1]
            columns = batch[:, None].expand(-1, n_way, -1)
            rows = products.index_select(0, (batch + first_row).flatten()).view(episodes, size, count)
            logits = torch.baddbmm(drawn_logits.gather(2, columns), within, rows.mT, beta=drawn)
            slope = logits.softmax(1) - targets[batch].mT

            momentum.mul_(mu).add_(within, alpha=fresh * decay).scatter_add_(2, columns, slope.mul_(fresh / size))
            within.sub_(momentum, alpha=rate)
            drawn_momentum = mu * drawn_momentum + fresh * decay * drawn
            drawn -= rate * drawn_momentum
            fresh = 1 - protocol.dampening if mu else 1.0  # torch dampens nothing without momentum
        after_epoch()

    return torch.baddbmm(heads, within, x, beta=drawn)


def head_accuracy(features: Tensor, labels: Tensor, heads: Tensor) -> Tensor:
    """Share of each episode's query images [E, Q, features] that its head labels rightly; float64 [E]."""
    logits = torch.baddbmm(heads[:, None, :, -1], features, heads[:, :, :-1].mT)
    return (logits.argmax(2) == labels).double().mean(1)
