"""What a signed step must be whatever computes it: its symmetries, and what ascent and decay do to a norm."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.signed_steps import ALL, FEW, Numbers, lay_out, numbers, rates, same_bits, step, steps, triples, values
from tests.tolerances import FORMATS, SIGNED_STEP_ROUNDINGS, SIGNED_STEP_UNDERFLOWS

DTYPES = [torch.float32, torch.float64]
NAMES = ["below a block", "tiny", "not a power of two", "channels last", "gaps"]
pytestmark = [
    pytest.mark.numerical,
    pytest.mark.parametrize("backend", ALL),
    pytest.mark.parametrize("dtype", DTYPES, ids=str),
]


def tensors(drawn: list[tuple[float, float, float]], dtype: torch.dtype) -> tuple[list[torch.Tensor], ...]:
    return tuple([lay_out(column, name, dtype) for name in NAMES] for column in zip(*drawn, strict=True))


def test_ascent_is_descent_on_the_negated_gradient(backend: str, dtype: torch.dtype) -> None:
    @FEW
    @given(triples(dtype), numbers())
    def holds(drawn: Any, n: Numbers) -> None:
        p, g, m = tensors(drawn, dtype)
        other = Numbers(n.lr, n.momentum, n.weight_decay, not n.maximize)
        for a, b in zip(step(backend, p, g, m, n), step(backend, p, [-x for x in g], m, other), strict=True):
            assert all(map(same_bits, a, b))

    holds()


def test_order_and_grouping_of_tensors_change_no_bit(backend: str, dtype: torch.dtype) -> None:
    @FEW
    @given(triples(dtype), numbers(), st.permutations(range(len(NAMES))), st.integers(0, len(NAMES)))
    def holds(drawn: Any, n: Numbers, order: list[int], cut: int) -> None:
        p, g, m = tensors(drawn, dtype)
        params, buffers = step(backend, p, g, m, n)
        parts = [[[x[i] for i in part] for x in (p, g, m)] for part in (order[:cut], order[cut:])]
        split = steps(backend, [(*part, n) for part in parts])
        for place, i in enumerate(order):
            q, b = (x[place] if place < cut else y[place - cut] for x, y in zip(*split, strict=True))
            assert same_bits(q, params[i])
            assert same_bits(b, buffers[i])

    holds()


def test_one_groups_step_does_not_depend_on_anothers_sign(backend: str, dtype: torch.dtype) -> None:
    @FEW
    @given(triples(dtype), numbers(), numbers())
    def holds(drawn: Any, n: Numbers, other: Numbers) -> None:
        p, g, m = tensors(drawn, dtype)
        flipped = Numbers(other.lr, other.momentum, other.weight_decay, not other.maximize)
        (mine, _), _ = steps(backend, [(p, g, m, n), (p, g, m, other)])
        (still, _), _ = steps(backend, [(p, g, m, n), (p, g, m, flipped)])
        assert all(map(same_bits, mine, still))

    holds()


def test_a_step_is_linear_in_the_learning_rate(backend: str, dtype: torch.dtype) -> None:
    """(p - p'') = 2 (p - p') at twice the rate, to the rounding of the two steps."""
    form = FORMATS[dtype]

    @FEW
    @given(triples(dtype), numbers())
    def holds(drawn: Any, n: Numbers) -> None:
        p, g, m = tensors(drawn, dtype)
        once, _ = step(backend, p, g, m, n)
        twice, _ = step(backend, p, g, m, Numbers(2 * n.lr, n.momentum, n.weight_decay, n.maximize))
        for a, b, q, d, v in zip(once, twice, p, g, m, strict=True):
            size = q.abs() + 2 * n.lr * (n.momentum * v.abs() + d.abs() + n.weight_decay * q.abs())
            bound = 4 * (SIGNED_STEP_ROUNDINGS * form.unit_roundoff * size + SIGNED_STEP_UNDERFLOWS * form.smallest)
            assert ((q - b - 2 * (q - a)).abs() <= bound).all()

    holds()


def test_learning_rate_zero_moves_the_buffer_and_no_parameter(backend: str, dtype: torch.dtype) -> None:
    @FEW
    @given(triples(dtype), numbers())
    def holds(drawn: Any, n: Numbers) -> None:
        p, g, m = tensors(drawn, dtype)
        params, _ = step(backend, p, g, m, Numbers(0.0, n.momentum, n.weight_decay, n.maximize))
        assert all(map(torch.equal, params, p)), "whatever the decay and a buffer that is there"
        params, buffers = step(backend, p, g, [None] * len(p), Numbers(0.0, 0.9, 0.0, n.maximize))
        assert all(map(torch.equal, params, p))
        assert all(map(torch.equal, buffers, [-x if n.maximize else x for x in g]))

    holds()


def test_up_then_down_by_one_gradient_returns_within_two_roundings(backend: str, dtype: torch.dtype) -> None:
    """|p2 - p| <= u(|p1| + |p2|), and the smallest number where lr*g underflows: returning to the bit is false."""
    form = FORMATS[dtype]

    @FEW
    @given(triples(dtype), rates(2.0))
    def holds(drawn: Any, lr: float) -> None:
        p, g, _ = tensors(drawn, dtype)
        none = [None] * len(p)
        up, _ = step(backend, p, g, none, Numbers(lr, 0.0, 0.0, maximize=True))
        down, _ = step(backend, up, g, none, Numbers(lr, 0.0, 0.0, maximize=False))
        for p0, p1, p2 in zip(p, up, down, strict=True):
            p0, p1, p2 = p0.double(), p1.double(), p2.double()
            assert ((p2 - p0).abs() <= form.unit_roundoff * (p1.abs() + p2.abs()) + form.smallest).all()

    holds()


@pytest.mark.parametrize("ascent_weight_decay", ["adjusted", "off", "grow"])
def test_decay_alone_moves_the_norm_as_named(backend: str, dtype: torch.dtype, ascent_weight_decay: str) -> None:
    """Cleared buffer, zero gradient, ascending; strict in float64 alone, as float32 rounds a small decay away."""

    @FEW
    @given(st.lists(values(dtype), min_size=1, max_size=9), st.floats(2.0**-20, 2.0), st.floats(2.0**-20, 0.5))
    def holds(drawn: list[float], lr: float, wd: float) -> None:
        signed = {"adjusted": wd, "off": 0.0, "grow": -wd}[ascent_weight_decay]
        p = [lay_out(drawn, name, dtype) for name in NAMES]
        n = Numbers(lr, 0.9, signed, maximize=True)
        after, _ = step(backend, p, [torch.zeros_like(x) for x in p], [None] * len(p), n)
        for before, now in zip(p, after, strict=True):
            change = now.abs() - before.abs()
            match ascent_weight_decay:
                case "off":
                    assert torch.equal(now, before)
                case "adjusted":
                    assert (change <= 0).all()
                case "grow":
                    assert (change >= 0).all()
            if dtype is torch.float64 and signed and lr * wd >= 1e-9:
                assert (change[before.abs() >= torch.finfo(dtype).tiny / 1e-9] * signed < 0).all()

    holds()
