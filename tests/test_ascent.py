"""An ascent step climbs the loss, to first order by lr |g|^2 and with a remainder of second order (Eq. 3)."""

import itertools
import math

import pytest
import torch
from torch import nn

from seal import SignedSGD
from seal.rng import stream

pytestmark = pytest.mark.numerical


class Smooth(nn.Module):
    """A small convolutional network without kinks, BatchNorm included."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.Softplus())
        self.late = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.late(self.early(x))


@pytest.mark.parametrize("training", [True, False], ids=["batch_statistics", "running_statistics"])
@pytest.mark.parametrize("side", ["early", "late"])
@pytest.mark.parametrize("maximize", [True, False], ids=["ascent", "descent"])
def test_one_step_moves_the_loss_as_its_sign_says(side: str, maximize: bool, training: bool) -> None:
    generator = stream(0, "test")
    network = Smooth().double().train(training)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.5)
    x = torch.randn(16, 3, 8, 8, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (16,), generator=generator)
    start = {name: value.clone() for name, value in network.state_dict().items()}

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(network(x), y, label_smoothing=0.1)

    def step(rate: float) -> tuple[float, float, float]:
        """(|g|^2, <g, dp>, J(p + dp) - J(p)) of one step of one side from the start."""
        network.load_state_dict(start)
        moving = list(getattr(network, side).parameters())
        optimizer = SignedSGD(moving, lr=rate, momentum=0.9, maximize=maximize, backend="reference")
        network.zero_grad()
        before = loss()
        before.backward()
        grads = [p.grad.clone() for p in moving]
        old = [p.detach().clone() for p in moving]
        optimizer.step()
        moved = sum(float((g * (p.detach() - q)).sum()) for g, p, q in zip(grads, moving, old, strict=True))
        network.load_state_dict(
            start | {k: v for k, v in network.state_dict().items() if k in dict(network.named_parameters())}
        )
        with torch.no_grad():
            return sum(float(g.square().sum()) for g in grads), moved, float(loss() - before)

    sign = 1 if maximize else -1
    remainders = []
    for halving in range(4):
        rate = 0.02 / 2**halving
        square, moved, change = step(rate)
        assert moved == pytest.approx(sign * rate * square, rel=1e-9)
        assert change * sign > 0
        remainders.append(abs(change - moved))
    for larger, smaller in itertools.pairwise(remainders):
        assert math.log2(larger / smaller) >= 1.9
