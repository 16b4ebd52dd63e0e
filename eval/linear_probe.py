"""A linear layer on frozen features, trained at several flat learning rates at once (section 4.1, Table 1)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from seal.rng import stream


@dataclass(frozen=True)
class ProbeScores:
    """What the layers of R learning rates make of other images, after every epoch."""

    accuracy: Tensor  # float64 [epochs, R]
    correct: Tensor  # bool [N, R], after the last epoch


def draw_layer(seed: int, features: int, classes: int) -> Tensor:
    """A linear layer as torch.nn.Linear starts it, float32 [features + 1, classes], the last row the bias."""
    bound = features**-0.5
    return torch.empty(features + 1, classes).uniform_(-bound, bound, generator=stream(seed, "linear probe"))


def train_probes(
    features: Tensor, labels: Tensor, layer: Tensor, rates: Sequence[float], others: Sequence[tuple[Tensor, Tensor]], *,
    epochs: int, batch_size: int, momentum: float, weight_decay: float, seed: int,
    after_epoch: Callable[[], object] = lambda: None,
) -> tuple[Tensor, list[ProbeScores]]:  # fmt: skip
    """Train a layer for each rate on features [N, D] by plain cross-entropy; test each on every one of `others`.

    All start from `layer` [D + 1, classes] and see the same batches, whose order is a function of (seed, epoch, N); the
    last of an epoch may be smaller. The updates are torch.optim.SGD's with momentum and weight decay, the bias
    included. Side by side, the rates' layers are one matrix: a step costs one product forward and one back. Returns the
    layers [R, D + 1, classes] and for each of `others`, which are (features, labels), its ProbeScores.
    """
    device, (inputs, classes), count = features.device, layer.shape, len(rates)
    x = pad(features, (0, 1), value=1.0)
    tests = [(pad(values, (0, 1), value=1.0), truth) for values, truth in others]
    layers = layer.to(x).repeat(1, count)  # [D + 1, R * classes]
    velocity = torch.zeros_like(layers)
    rate = torch.tensor(rates, dtype=x.dtype, device=device).repeat_interleave(classes)
    minus_one = layers.new_full((1, 1, 1), -1.0)
    accuracy: list[list[Tensor]] = [[] for _ in tests]
    correct = [torch.zeros(len(truth), count, dtype=torch.bool, device=device) for _, truth in tests]

    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=stream(seed, "linear probe order", epoch)).to(device)
        for batch in torch.split(order, batch_size):
            rows, size = x.index_select(0, batch), len(batch)
            slope = (rows @ layers).view(size, count, classes).softmax(2)
            truth = labels.index_select(0, batch)[:, None, None]
            slope.scatter_add_(2, truth.expand(-1, count, 1), minus_one.expand(size, count, 1))

            velocity.addmm_(rows.T, slope.flatten(1), beta=momentum, alpha=1 / size).add_(layers, alpha=weight_decay)
            layers.addcmul_(velocity, rate, value=-1)

        for index, (values, truth) in enumerate(tests):
            logits = (values @ layers).view(len(values), count, classes)
            correct[index] = logits.argmax(2) == truth[:, None]
            accuracy[index].append(correct[index].double().mean(0))
        after_epoch()

    scores = [ProbeScores(torch.stack(shares), last) for shares, last in zip(accuracy, correct, strict=True)]
    return layers.view(inputs, count, classes).transpose(0, 1), scores
