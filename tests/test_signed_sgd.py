"""Every version of the signed step against what can't share its bug: torch's own loop, and exact arithmetic."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from torch import Tensor

from tests.signed_steps import (
    ALL,
    FEW,
    FUSED,
    INTERPRETED,
    LAYOUTS,
    Numbers,
    lay_out,
    numbers,
    same_bits,
    step,
    triples,
)
from tests.tolerances import FORMATS, SIGNED_STEP_ROUNDINGS, SIGNED_STEP_UNDERFLOWS

pytestmark = pytest.mark.numerical

Triples = list[tuple[float, float, float]]
DTYPES = [torch.float32, torch.float64]


def laid_out(drawn: Triples, dtype: torch.dtype) -> tuple[list[Tensor], ...]:
    """Parameters, gradients and buffers in all layouts."""
    return tuple([lay_out(column, name, dtype) for name in LAYOUTS] for column in zip(*drawn, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.skipif(INTERPRETED, reason="says nothing of Triton")
def test_reference_is_bit_equal_to_torchs_loop(dtype: torch.dtype) -> None:
    @FEW
    @given(triples(dtype), numbers())
    def holds(drawn: Triples, given_numbers: Numbers) -> None:
        params, grads, buffers = laid_out(drawn, dtype)
        for first in (True, False):
            ours = step("reference", params, grads, [None] * len(params) if first else buffers, given_numbers)
            theirs = [p.clone().requires_grad_() for p in params]
            sgd = torch.optim.SGD(theirs, foreach=False, **vars(given_numbers))
            for p, g, m in zip(theirs, grads, buffers, strict=True):
                p.grad = g
                if not first:
                    sgd.state[p]["momentum_buffer"] = m.clone()
            sgd.step()
            for p, m, q in zip(*ours, theirs, strict=True):
                assert same_bits(p, q.detach())
                assert given_numbers.momentum == 0 or same_bits(m, sgd.state[q]["momentum_buffer"])

    holds()


def exact(triple: tuple[float, float, float], n: Numbers) -> tuple[Fraction, Fraction, Fraction, Fraction]:
    """p' and m' in rational arithmetic, and the sums of magnitudes that their errors are measured against."""
    p, g, m = map(Fraction, triple)
    lr, mu, wd = map(Fraction, (n.lr, n.momentum, n.weight_decay))
    new_m = mu * m + (-g if n.maximize else g) + wd * p
    size = mu * abs(m) + abs(g) + wd * abs(p)
    return p - lr * new_m, new_m, abs(p) + lr * size, size


@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_error_is_within_six_roundings_of_exact_arithmetic(backend: str, dtype: torch.dtype) -> None:
    form = FORMATS[dtype]
    relative, absolute = (
        Fraction(SIGNED_STEP_ROUNDINGS * form.unit_roundoff),
        Fraction(SIGNED_STEP_UNDERFLOWS * form.smallest),
    )

    @FEW
    @given(triples(dtype), numbers())
    def holds(drawn: Triples, given_numbers: Numbers) -> None:
        for p, m, name in zip(*step(backend, *laid_out(drawn, dtype), given_numbers), LAYOUTS, strict=True):
            for i, triple in enumerate(drawn[: p.numel()]):
                exact_p, exact_m, size_p, size_m = exact(triple, given_numbers)
                found_p, found_m = (Fraction(t.flatten()[i].item()) for t in (p, m))
                assert abs(found_p - exact_p) <= relative * size_p + absolute, name
                if given_numbers.momentum:
                    assert abs(found_m - exact_m) <= relative * size_m + absolute, name

    holds()


@pytest.mark.parametrize("backend", ALL)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_value_takes_the_same_step_wherever_it_lies(backend: str, dtype: torch.dtype) -> None:
    """Vector body, scalar tail, block, stride: equal values give equal bits. (Subnormal numbers and -0.0 too.)"""

    @FEW
    @given(triples(dtype), numbers())
    def holds(drawn: Triples, given_numbers: Numbers) -> None:
        params, _ = step(backend, *laid_out(drawn, dtype), given_numbers)
        expected = params[list(LAYOUTS).index("large")][: len(drawn)].tolist()
        for p, name in zip(params, LAYOUTS, strict=True):
            assert same_bits(p, lay_out(expected, name, dtype)), name

    holds()


@pytest.mark.parametrize("backend", ALL)
def test_first_step_takes_the_gradient_for_momentum_to_the_bit(backend: str) -> None:
    zero = torch.tensor([-0.0, 0.0, 1.0, -3.0])
    _, buffers = step(backend, [torch.ones(4)], [zero], [None], Numbers(momentum=0.9, weight_decay=0.0))
    assert same_bits(buffers[0], zero)
    assert math.copysign(1, buffers[0][0].item()) == -1
