"""Nearest neighbours against every pair's float64 differences; no query that is certified is ever wrong."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import eval.knn
from eval.distances import chain_length, relative_error, row_squares, sliced_products
from eval.knn import Search, exact_knn
from eval.knn_backends import BackendError, torch_candidates
from seal.errors import UserError

pytestmark = pytest.mark.numerical

BACKENDS = ["torch", "faiss"]
Array = npt.NDArray[np.float64]


def every_pair(query: Array, data: Array) -> Array:
    """Squared distances [Q, N] from differences in float64; exact for the integers drawn here."""
    return ((query[:, None] - data[None]) ** 2).sum(2)


def nearest_of(distances: Array, k: int) -> npt.NDArray[np.int64]:
    """The k smallest of each row, by (distance, index)."""
    return np.argsort(distances, axis=1, kind="stable")[:, :k]


def in_batches(
    data: Array | Tensor, size: int, order: list[int] | None = None
) -> Callable[[], Iterator[tuple[Array | Tensor, int]]]:
    starts = list(range(0, len(data), size))
    return lambda: ((data[starts[at] : starts[at] + size], starts[at]) for at in order or range(len(starts)))


@st.composite
def integer_problems(draw: st.DrawFn) -> dict[str, object]:
    """Dyadic features, so that float64 decides every order: with repeats, exact ties, and offsets that cancel."""
    queries, rows, features = draw(st.integers(1, 9)), draw(st.integers(1, 90)), draw(st.integers(1, 40))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread, offset = draw(st.sampled_from([1, 2, 50])), draw(st.sampled_from([0, 0, 1000, 2**20, 2**23]))
    scale = draw(st.sampled_from([1.0, 2.0**-10, 2.0**30]))
    data = generator.integers(-spread, spread + 1, (rows, features))
    data = data[generator.integers(0, rows, rows)] if draw(st.booleans()) else data
    query = generator.integers(-spread, spread + 1, (queries, features))
    batch_size = draw(st.integers(1, rows + 3))
    return {
        "query": (query + offset) * scale, "data": (data + offset) * scale, "k": draw(st.integers(1, min(64, rows))),
        "batch_size": batch_size, "order": draw(st.permutations(range(-(-rows // batch_size)))),
        "spare": draw(st.integers(0, 20)), "width": draw(st.integers(1, 48)),
    }  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=150)
@given(problem=integer_problems())
def test_neighbours_and_their_order_are_those_of_every_pair(backend: str, problem: dict) -> None:
    distances = every_pair(problem["query"], problem["data"])
    expected = nearest_of(distances, problem["k"])
    batches = in_batches(problem["data"], problem["batch_size"], list(problem["order"]))
    found = exact_knn(
        problem["query"], batches, problem["k"],
        memory_mb=100, backend=backend, spare=problem["spare"], width=problem["width"],
    )  # fmt: skip
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(distances, expected, 1))


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32), offset=st.sampled_from([0.0, 1.0, 300.0, 1e5]), scale=st.sampled_from([1e-3, 1.0, 1e3]),
    features=st.sampled_from([1, 7, 300, 1500]), batch_size=st.sampled_from([1, 13, 64, 200]),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
)  # fmt: skip
def test_real_values_too_where_float64_decides_the_order(
    backend: str, seed: int, offset: float, scale: float, features: int, batch_size: int, dtype: str
) -> None:
    generator = np.random.default_rng(seed)
    offset = 0.0 if dtype == "float16" else offset
    query, data = (((generator.normal(size=(rows, features)) + offset) * scale).astype(dtype) for rows in (6, 120))
    distances = every_pair(query.astype(np.float64), data.astype(np.float64))
    expected = nearest_of(distances, 8)
    ordered = np.take_along_axis(distances, expected, 1)
    assume((np.diff(ordered) > 1e-12 * np.maximum(ordered[:, 1:], 1e-300)).all())
    found = exact_knn(query, in_batches(data, batch_size), 7, memory_mb=100, backend=backend)
    np.testing.assert_array_equal(found.indices, expected[:, :7])


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=100)
@given(problem=integer_problems())
def test_a_certified_query_is_right_without_the_second_pass(backend: str, problem: dict) -> None:
    search = Search(problem["query"], problem["k"], backend=backend, spare=problem["spare"], width=problem["width"])
    for features, first in in_batches(problem["data"], problem["batch_size"])():
        search.add(features, first)
    search.end_pass()
    expected = nearest_of(every_pair(problem["query"], problem["data"]), problem["k"])
    certified = search.certified.numpy()
    np.testing.assert_array_equal(search.nearest.indices.numpy()[certified], expected[certified])


@settings(max_examples=100)
@given(problem=integer_problems(), seed=st.integers(0, 2**32))
def test_neighbours_stay_right_for_any_error_within_the_bound(problem: dict, seed: int) -> None:
    """Distances that are off by as much as the bound allows, on either side: far worse than any rounding."""
    query, data = (torch.from_numpy(problem[name]) for name in ("query", "data"))
    noise = torch.Generator().manual_seed(seed)
    slack = relative_error(chain_length(query.shape[1], problem["width"]) + 8, torch.float32)

    def noisy(
        mine: Tensor, mine_squares: Tensor, batch: Tensor, squares: Tensor, count: int, *_: object
    ) -> tuple[Tensor, ...]:
        bound = slack * (mine_squares.sqrt() + squares.max().sqrt()).square()
        exact = (mine.double()[:, None] - batch.double()).square().sum(2)
        off = torch.randint(-1, 2, exact.shape, generator=noise) * 0.99 * bound[:, None]
        near, columns = (exact + off).topk(count, largest=False)
        return torch.arange(len(mine)), near, columns

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eval.knn, "backend_of", lambda *_: (noisy, chain_length(query.shape[1], problem["width"])))
        found = exact_knn(
            query, in_batches(data, problem["batch_size"]), problem["k"],
            memory_mb=100, spare=problem["spare"], width=problem["width"],
        )  # fmt: skip
    np.testing.assert_array_equal(found.indices, nearest_of(every_pair(query.numpy(), data.numpy()), problem["k"]))


@given(seed=st.integers(0, 2**32), features=st.sampled_from([1, 5, 300, 3000]), width=st.sampled_from([1, 64, 1024]))
@settings(max_examples=30)
def test_the_rounding_error_of_a_distance_is_within_its_bound(seed: int, features: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, batch = (torch.rand(rows, features, generator=generator) + 0.5 for rows in (5, 40))  # one sign: sums grow
    squares, batch_squares = row_squares(query, width), row_squares(batch, width)
    infinite = torch.full((5,), torch.inf, dtype=torch.float64)
    _, near, columns = torch_candidates(query, squares, batch, batch_squares, 40, infinite, width)
    exact = (query.double()[:, None] - batch.double()).square().sum(2).gather(1, columns)
    bound = (
        relative_error(chain_length(features, width) + 8, torch.float32)
        * (squares.sqrt() + batch_squares.max().sqrt()) ** 2
    )
    assert ((near - exact).abs() <= bound[:, None]).all()


@given(features=st.integers(0, 70), width=st.integers(1, 80))
def test_sliced_products_are_the_product(features: int, width: int) -> None:
    query, batch = (torch.randint(-9, 9, (rows, features)).float() for rows in (3, 4))
    assert torch.equal(sliced_products(query, batch, width, torch.float32), query @ batch.T)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("batch_size", "certified"), [(50, True), (217, False)])
def test_rows_that_repeat_tie_to_the_last_bit_wherever_they_lie(backend: str, batch_size: int, certified: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(7, 3001, generator=generator)
    data = base.repeat(31, 1)
    found = exact_knn(base + 1e-3, in_batches(data, batch_size), 20, memory_mb=200, backend=backend, spare=2)
    assert torch.equal(found.indices, torch.arange(7)[:, None] + 7 * torch.arange(20))
    assert (found.distances == found.distances[:, :1]).all()
    # In one batch 31 rows tie and 22 are looked at; in batches of 50 at most 8 tie, and none of them is rejected.
    assert (found.certified == certified).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "layout", ["transposed", "reversed", "every second", "read-only", "channels last", "wants a gradient"]
)
def test_any_strides_give_the_same(backend: str, layout: str) -> None:
    generator = np.random.default_rng(0)
    query, data = (generator.normal(size=(rows, 24)).astype(np.float32) for rows in (8, 60))
    plain = exact_knn(query, in_batches(data, 17), 5, memory_mb=100, backend=backend)

    def laid_out(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | Tensor:
        if layout == "transposed":
            return np.asfortranarray(array)
        if layout == "reversed":
            return np.ascontiguousarray(array[:, ::-1])[:, ::-1]
        if layout == "every second":
            return np.repeat(array, 2, axis=1)[:, ::2]
        if layout == "read-only":
            array = array.copy()
            array.flags.writeable = False
            return array
        tensor = torch.from_numpy(array)
        if layout == "wants a gradient":
            return tensor.requires_grad_()
        return tensor.view(-1, 6, 2, 2).to(memory_format=torch.channels_last).flatten(1)

    found = exact_knn(laid_out(query), in_batches(laid_out(data), 17), 5, memory_mb=100, backend=backend)
    assert torch.equal(found.indices, plain.indices)
    assert torch.equal(found.distances, plain.distances)


def test_small_memory_gives_the_same_in_more_tiles_and_too_little_is_said() -> None:
    generator = torch.Generator().manual_seed(0)
    query, data = (torch.randn(rows, 400, generator=generator) for rows in (300, 4000))
    wide = exact_knn(query, in_batches(data, 1000), 5, memory_mb=500)
    narrow = exact_knn(query, in_batches(data, 1000), 5, memory_mb=12)
    assert torch.equal(wide.indices, narrow.indices)
    with pytest.raises(
        ValueError, match=r"memory_mb is 2, expected at least \d+ for 300 queries and a batch of 1000 rows"
    ):
        exact_knn(query, in_batches(data, 1000), 5, memory_mb=2)


def test_what_cannot_be_searched_is_refused() -> None:
    query, data = torch.zeros(2, 3), torch.zeros(9, 3)
    with pytest.raises(ValueError, match="k is 10, but there are only 9 rows"):
        exact_knn(query, in_batches(data, 4), 10, memory_mb=100)
    with pytest.raises(ValueError, match="a batch has 3 features a row, expected 4"):
        exact_knn(torch.zeros(2, 4), in_batches(data, 4), 1, memory_mb=100)
    with pytest.raises(ValueError, match=r"features have shape \(2, 3, 1\)"):
        exact_knn(query[:, :, None], in_batches(data, 4), 1, memory_mb=100)
    with pytest.raises(ValueError, match="expected at least 1, 0 and 1"):
        Search(query, 0)
    for bad in (torch.nan, torch.inf, 1e30):
        with pytest.raises(UserError, match="not finite, or too large"):
            exact_knn(query, in_batches(torch.full((4, 3), bad), 4), 1, memory_mb=100)
    with pytest.raises(ValueError, match="use the torch backend"):
        relative_error(2**24, torch.float32)


def test_reduced_precision_is_refused() -> None:
    with torch.autocast("cpu"), pytest.raises(ValueError, match="autocast"):
        Search(torch.zeros(2, 3), 1)
    found = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="set to bf16 on cpu"):
            Search(torch.zeros(2, 3), 1)
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = found  # type: ignore[attr-defined]


def test_a_faiss_that_finds_the_wrong_neighbours_is_refused() -> None:
    from eval.knn_backends import _self_test

    _self_test(lambda query, batch, k: torch.cdist(query, batch).square().round().topk(k, largest=False), "cpu")
    with pytest.raises(BackendError, match="FAISS returns wrong neighbours on the cpu"):
        _self_test(lambda query, batch, k: torch.cdist(query, batch).square().round().topk(k), "cpu")


def test_no_query_and_no_batch_are_no_trouble() -> None:
    data = torch.rand(9, 3)
    assert exact_knn(torch.zeros(0, 3), in_batches(data, 4), 2, memory_mb=100).indices.shape == (0, 2)
    with_empty = lambda: [(data[:5], 0), (data[5:5], 5), (data[5:], 5)]  # noqa: E731
    assert torch.equal(exact_knn(data, with_empty, 1, memory_mb=100).indices[:, 0], torch.arange(9)), (
        "each row is nearest to itself"
    )
