"""Eigenvalues against the dense Hessian, closed forms and SciPy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from eval.curvature import batch_hessian, batch_norm, mean_hessian
from eval.hessian import augmented
from eval.lanczos import Krylov, lanczos
from eval.power_iteration import power_iteration
from eval.spectrum import Eigenvalues, NotConverged, summary
from seal.data.batches import Batch
from seal.errors import UserError
from seal.models import build
from seal.rng import stream
from seal.sections import Model
from tests.small import small_data, small_images, small_run

pytestmark = pytest.mark.numerical

STRICT = {"tolerance": 1e-12, "first_steps": 8, "max_steps": 400}
LOSS = {"label_smoothing": 0.1, "weight_decay": 0.3}


def batch(number: int, classes: int = 3) -> Batch:
    generator = stream(number, "hessian test")
    x = torch.randn(6, 3, 4, 4, dtype=torch.float64, generator=generator)
    return x, torch.randint(classes, (6,), generator=generator)


def network(seed: int = 0) -> nn.Module:
    """A convolution, BatchNorm and a linear layer, smooth, with 92 parameters and running statistics of their own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(3, 2, 3, bias=False), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)
        ).double()
        model.train()(batch(9)[0])
    return model.eval()


def dense(model: nn.Module, batches: list[Batch], label_smoothing: float, weight_decay: float) -> Tensor:
    """torch's own Hessian [n, n] of the mean loss with the L2 term written out."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    theta = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    def loss(theta: Tensor) -> Tensor:
        parts = theta.split([shape.numel() for shape in shapes])
        values = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        losses = [
            cross_entropy(torch.func.functional_call(model, values, (x,)), y, label_smoothing=label_smoothing)
            for x, y in batches
        ]
        return torch.stack(losses).mean() + weight_decay / 2 * theta.square().sum()

    return torch.autograd.functional.hessian(loss, theta)


def largest(matrix: Tensor, count: int) -> Tensor:
    values = torch.linalg.eigvalsh(matrix)
    return values[values.abs().argsort(descending=True)[:count]]


def start(size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, dtype=torch.float64, generator=stream(seed, "start"))


def symmetric(values: Tensor, seed: int = 0) -> Tensor:
    """A dense matrix with these eigenvalues."""
    draws = torch.randn(len(values), len(values), dtype=torch.float64, generator=stream(seed, "rotation"))
    rotation = torch.linalg.qr(draws).Q
    return rotation @ torch.diag(values) @ rotation.T


@pytest.mark.parametrize("statistics", ["running", "batch"])
@pytest.mark.parametrize("seed", [0, 1])
def test_eigenvalues_are_those_of_the_dense_hessian_of_loss_and_l2(statistics: str, seed: int) -> None:
    model = network(seed)
    with batch_norm(model, statistics):
        operator = batch_hessian(model, batch(seed), **LOSS)
        found = lanczos(operator.matvec, start(operator.size), 5, "magnitude", **STRICT)
        expected = largest(dense(model, [batch(seed)], **LOSS), 5)
    torch.testing.assert_close(found.values, expected, rtol=1e-10, atol=1e-10)
    assert found.residuals.max() <= 1e-12


def test_the_mean_over_batches_is_the_dense_one_and_its_largest_is_not_by_magnitude() -> None:
    model, batches = network(), [batch(0), batch(1)]
    operator = mean_hessian(model, batches, **LOSS)
    found = lanczos(operator.matvec, start(operator.size), 1, "value", **STRICT)
    expected = torch.linalg.eigvalsh(dense(model, batches, **LOSS))
    torch.testing.assert_close(found.values, expected[-1:], rtol=1e-10, atol=1e-10)
    mirrored = lanczos(lambda v: -operator.matvec(v), start(operator.size), 1, "value", **STRICT)
    torch.testing.assert_close(mirrored.values, -expected[:1], rtol=1e-10, atol=1e-10)


def test_logistic_regression_has_its_closed_form() -> None:
    """H = X' diag(p (1 - p)) X / N on the difference of the two classes' weights, twice that on the pair; and wd."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 2, bias=False)).double()
    x, y = batch(0, classes=2)
    found = lanczos(batch_hessian(model, (x, y), label_smoothing=0.0, weight_decay=0.3).matvec, start(96), 5,
                    "magnitude", **STRICT)  # fmt: skip
    p = model(x).softmax(1)[:, 0].detach()
    expected = torch.linalg.eigvalsh(x.flatten(1).T @ torch.diag(p * (1 - p)) @ x.flatten(1) / len(x))
    torch.testing.assert_close(found.values, 2 * expected.flip(0)[:5] + 0.3, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("which", ["LM", "LA"])
def test_scipys_lanczos_agrees(which: str) -> None:
    model = network()
    operator = batch_hessian(model, batch(2), **LOSS)
    product = lambda v: operator.matvec(torch.from_numpy(v.copy())).numpy()  # noqa: E731
    linear = scipy.sparse.linalg.LinearOperator((operator.size,) * 2, matvec=product, dtype=np.float64)
    theirs = scipy.sparse.linalg.eigsh(linear, 4, which=which, return_eigenvectors=False, rng=0)
    theirs = theirs[np.argsort(-np.abs(theirs) if which == "LM" else -theirs)]
    ours = lanczos(operator.matvec, start(operator.size), 4, "magnitude" if which == "LM" else "value", **STRICT)
    np.testing.assert_allclose(ours.values, theirs, rtol=1e-10)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32), size=st.integers(2, 60), count=st.integers(1, 6),
    order=st.sampled_from(["magnitude", "value"]), planted=st.sampled_from([None, -50.0, -3.0]),
)  # fmt: skip
def test_any_symmetric_matrix_gives_its_outer_eigenvalues(
    seed: int, size: int, count: int, order: str, planted: float | None
) -> None:
    count = min(count, size)
    values = torch.rand(size, dtype=torch.float64, generator=stream(seed, "values")) * 5 - 1
    if planted is not None:
        values[0] = planted
    matrix = symmetric(values, seed)
    key = values.abs() if order == "magnitude" else values
    expected = values[key.argsort(descending=True)[:count]]
    found = lanczos(matrix.mv, start(size, seed), count, order, tolerance=1e-9, first_steps=count, max_steps=size)
    torch.testing.assert_close(found.values, expected, rtol=1e-7, atol=1e-7)
    assert found.products <= size + 2 * count


def test_a_planted_negative_direction_is_found_by_both_solvers() -> None:
    model = network()
    operator = batch_hessian(model, batch(0), **LOSS)
    direction = start(operator.size, 7)
    direction = direction / direction.norm()
    bent = lambda v: operator.matvec(v) - 40.0 * direction.dot(v) * direction  # noqa: E731
    found = lanczos(bent, start(operator.size), 5, "magnitude", tolerance=1e-6, first_steps=8, max_steps=100)
    starts = [start(operator.size, seed) for seed in range(5)]
    power = power_iteration(bent, starts, tolerance=1e-9, max_steps=2000)
    for each in (found, power):
        assert each.values[0] == pytest.approx(-39.7, abs=0.5)
        assert summary([each], 100, stream(0, "test"))["negative_fraction"] == pytest.approx(0.2)
    torch.testing.assert_close(power.values, found.values, rtol=1e-3, atol=1e-3)


def test_steps_go_on_from_where_they_stand() -> None:
    matrix = symmetric(torch.linspace(-1, 9, 50, dtype=torch.float64) ** 3)
    at_once, stepwise = (Krylov(matrix.mv, start(50)) for _ in range(2))
    at_once.extend(30)
    for steps in (1, 8, 9, 30):
        stepwise.extend(steps)
    assert stepwise.products == at_once.products == 30
    assert torch.equal(at_once.basis, stepwise.basis)
    assert at_once.alphas == stepwise.alphas
    torch.testing.assert_close(at_once.basis @ at_once.basis.T, torch.eye(31, dtype=torch.float64), rtol=0, atol=1e-14)


def rounded_by_another_processor(matrix: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    """Products with the matrix, each of whose numbers is off by up to 4 ulps, as another order of sums makes it."""
    generator = stream(seed, "ulps")

    def product(vector: Tensor) -> Tensor:
        ulps = torch.randint(-4, 5, vector.shape, generator=generator).to(vector)
        return matrix.to(vector).mv(vector) * (1 + ulps * torch.finfo(vector.dtype).eps)

    return product


EXHAUSTED = {
    "all alike": ([2.0] * 7, "magnitude"),
    "one above equal ones": ([3.0] + [0.5] * 8, "value"),
    "zero among them": ([5.0, 3.0, 1.0] + [0.0] * 6, "magnitude"),
    "zero largest": ([0.0, 0.0, -1.0, -2.0], "value"),
    "of both signs": ([4.0, -4.0, 0.0, 0.0, 0.0, 0.0], "magnitude"),
    "nothing": ([0.0] * 6, "magnitude"),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", EXHAUSTED)
def test_a_space_that_is_exhausted_goes_on_whatever_the_rounding(case: str, seed: int, dtype: torch.dtype) -> None:
    """Few distinct eigenvalues exhaust the Krylov space early, where beta is rounding noise, never zero."""
    values, order = EXHAUSTED[case]
    matrix = torch.diag(torch.tensor(values, dtype=dtype))
    count = min(4, len(values))
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    solved = lanczos(
        rounded_by_another_processor(matrix, seed), start(len(values), seed).to(dtype), count, order,
        tolerance=tolerance, first_steps=1, max_steps=len(values),
    )  # fmt: skip
    expected = largest(matrix.double(), count) if order == "magnitude" else torch.tensor(sorted(values)[::-1][:count])
    torch.testing.assert_close(solved.values.abs(), expected.double().abs(), rtol=tolerance, atol=tolerance)
    assert solved.residuals.max() <= tolerance
    assert not (solved.values[expected == 0]).any(), "zero itself: a sign would be rounding's"


def test_a_fresh_direction_is_orthogonal_to_all_of_the_basis() -> None:
    krylov = Krylov(rounded_by_another_processor(torch.diag(torch.tensor([3.0] + [0.5] * 30).double()), 0), start(31))
    krylov.extend(20)
    torch.testing.assert_close(krylov.basis @ krylov.basis.T, torch.eye(21, dtype=torch.float64), rtol=0, atol=1e-13)
    assert 0.0 in krylov.betas


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0, 0.0, 0.0], [3.0, 0.0, 0.0]), ([0.0, 0.0], [0.0, 0.0]), ([-2.0, -2.0, 0.0, 0.0], [-2.0, -2.0, 0.0])],
)
def test_power_iteration_gives_zero_where_nothing_is_left(
    values: list[float], expected: list[float], seed: int
) -> None:
    """One product finds these vectors to the last digit; an inexact one would leave some of its value to the next."""
    matrix = torch.diag(torch.tensor(values, dtype=torch.float64))
    starts = [start(len(values), seed + 10 * number) for number in range(len(expected))]
    solved = power_iteration(rounded_by_another_processor(matrix, seed), starts, tolerance=1e-9, max_steps=50)
    torch.testing.assert_close(solved.values, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)
    assert solved.residuals.isfinite().all()
    assert summary([solved], 50, stream(0, "test"))["negative_fraction"] == pytest.approx(
        sum(value < 0 for value in expected) / len(expected)
    )


def test_power_iteration_refuses_what_it_cannot_iterate() -> None:
    with pytest.raises(UserError, match="a Hessian-vector product is not finite"):
        power_iteration(lambda v: v * math.nan, [start(3)], tolerance=1e-3, max_steps=5)
    with pytest.raises(ValueError, match="found 2 rows, expected at least as many as there are starting vectors"):
        power_iteration(lambda v: 2 * v, [start(2, seed) for seed in range(3)], tolerance=1e-3, max_steps=5)


def test_what_has_not_converged_is_an_error_with_its_residual() -> None:
    matrix = symmetric(torch.linspace(1, 2, 80, dtype=torch.float64))
    with pytest.raises(NotConverged, match=r"after 12 Lanczos steps the largest residual .* is 0\.\d+, expected at mo"):
        lanczos(matrix.mv, start(80), 5, "magnitude", tolerance=1e-6, first_steps=8, max_steps=12)
    with pytest.raises(UserError, match="a Hessian-vector product is not finite"):
        lanczos(lambda v: v * math.nan, start(8), 2, "value", tolerance=1e-6, first_steps=4, max_steps=8)
    with pytest.raises(ValueError, match="found 3 rows, expected at least as many as the 5"):
        lanczos(torch.clone, start(3), 5, "value", tolerance=1e-6, first_steps=5, max_steps=8)


def test_power_iteration_stops_as_pyhessian_does() -> None:
    """On diag(4, 2) from (1, 1): v after i products is (2^i, 1), so that the value is (4^(i+1) + 2) / (4^i + 1)."""
    matrix = torch.diag(torch.tensor([4.0, 2.0], dtype=torch.float64))
    ones = torch.ones(2, dtype=torch.float64)
    quotients = [(4 ** (i + 1) + 2) / (4**i + 1) for i in range(20)]
    stops = next(i for i in range(1, 20) if abs(quotients[i] - quotients[i - 1]) / quotients[i - 1] < 1e-3)
    found = power_iteration(matrix.mv, [ones], tolerance=1e-3, max_steps=100)
    assert found.values.item() == pytest.approx(quotients[stops - 1], rel=1e-12), "the value before the last product"
    assert found.products == stops + 2, "with the one for the residual"
    vector = torch.tensor([2.0 ** (stops + 1), 1.0], dtype=torch.float64)
    vector /= vector.norm()
    gap = (matrix.mv(vector) - found.values * vector).norm() / found.values
    assert found.residuals.item() == pytest.approx(gap.item(), rel=1e-9)
    assert power_iteration(matrix.mv, [ones], tolerance=1e-30, max_steps=5).products == 6


@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_buffers_and_flags_stay_as_they_were(statistics: str) -> None:
    model = build(Model(depth=18, width=2, stem="small", classifier_bias="zero"), 3, stream(0, "initialisation")).eval()
    before = {name: value.clone() for name, value in model.named_buffers()}
    images, labels = small_images("train", 12)
    x = images.permute(0, 3, 1, 2).float() / 255
    with batch_norm(model, statistics):
        operator = batch_hessian(model, (x, labels), **LOSS)
        lanczos(operator.matvec, start(operator.size).float(), 2, "magnitude", tolerance=1e-2, first_steps=4,
                max_steps=60)  # fmt: skip
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_augmented_batches_are_whole_and_a_function_of_the_seed_alone() -> None:
    train = small_data(small_run(batch_size=8)).train  # 26 images in batches of 8: three whole ones an epoch
    one, two, other = (augmented(train, 7, seed) for seed in (0, 0, 1))
    assert [len(y) for _, y in one] == [8] * 7
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[0][0], other[0][0])
    assert not torch.equal(one[0][0], one[3][0]), "another epoch is another draw"
    train.batch_size = 27
    with pytest.raises(UserError, match=r"hessian\.batch_size is 27, expected at most 26"):
        augmented(train, 1, 0)


def test_the_share_of_negative_ones_has_an_interval_over_batches_and_a_limit_where_there_are_none() -> None:
    def batch_of(*values: float) -> Eigenvalues:
        return Eigenvalues(torch.tensor(values, dtype=torch.float64), torch.tensor([1e-4, 2e-4]), 10)

    none = summary([batch_of(5.0, 1.0), batch_of(7.0, 2.0), batch_of(3.0, 1.0)], 500, stream(0, "test"))
    assert none["negative_fraction"] == 0
    assert none["negative_interval"] == [0, 0]
    assert (1 - none["negative_upper_limit"]) ** 3 == pytest.approx(0.05)
    assert (none["max_eigenvalue"], none["max_eigenvalue_median"]) == (7.0, 5.0)
    assert (none["batches"], none["products"], none["largest_residual"]) == (3, 30, pytest.approx(2e-4))
    some = summary([batch_of(-9.0, 1.0), *[batch_of(7.0, 2.0)] * 9], 4000, stream(0, "test"))
    assert some["negative_fraction"] == pytest.approx(0.05)
    assert some["negative_upper_limit"] is None
    assert some["max_eigenvalue"] == 7.0, "not by magnitude"
    low, high = some["negative_interval"]
    assert low == 0, "0.9^10 = 35% of resamples have none"
    assert high == pytest.approx(0.15), "the binomial's 97.5% quantile is 3 of 10 batches, each half negative"
