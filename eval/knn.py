"""Exact nearest neighbours by squared L2 distance, of queries that stay in memory, in rows that stream past in batches.

Products are taken in float32, and distances in float64 of the few rows that can matter. With |x| and |y| the norms,
u = 2^-24 and n the longest chain of roundings in a product, a float32 distance is off by at most

    E = g (|x| + max |y|)^2,    g = (n + 8) u / (1 - (n + 8) u),    the 8 for norms, sums and rounded input

so a row can enter the k nearest only where its float32 distance less E is at most the k-th nearest so far. Of a batch
the k + spare nearest by float32 are looked at and the others rejected. A query is *certified* when its k-th distance is
below every rejected float32 distance less E. The others are resolved by one more pass in float64 that rejects nothing
unproven. Neighbours are ordered by (distance, index): rows that repeat tie, and the lower index comes first.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eval.distances import (
    Features,
    as_rows,
    exact_distances,
    pairs_at_once,
    relative_error,
    row_squares,
    sliced_products,
)
from eval.knn_backends import BackendName, backend_of
from eval.nearest import Nearest
from seal.errors import UserError
from seal.precision import refuse_reduced_precision

MB = 2**20


class FeaturesChanged(UserError):
    """The batches are other ones when they are asked for once more."""


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of each query, nearest first."""

    distances: Tensor  # float64 [Q, k], squared
    indices: Tensor  # int64 [Q, k]
    certified: Tensor  # bool [Q]; the others took the second pass
    seconds: float  # of the first pass
    resolving_seconds: float  # of the second


def exact_knn(
    query: Features, batches: Callable[[], Iterable[tuple[Features, int]]], k: int, *,
    memory_mb: float, backend: BackendName = "torch", spare: int = 16, width: int = 1024,
) -> Neighbours:  # fmt: skip
    """The k nearest rows to each query [Q, D], of all that `batches` gives.

    `batches()` is a fresh iterator of (features [B, D], index of their first row), of any sizes, in any order. NumPy or
    torch, any strides and float type; the search runs where the queries lie. `memory_mb` holds the queries, one batch
    and the search's own work: ValueError where it cannot, and where there are fewer than k rows; UserError where a
    feature is not finite.
    """
    search = Search(query, k, backend=backend, spare=spare, width=width)
    seconds = [0.0, 0.0]
    for turn in range(2):
        began = time.perf_counter()
        for features, first_index in batches():
            batch = as_rows(features, search.device)
            work_bytes = memory_mb * MB - with_copy(search.query) - with_copy(batch)
            least_bytes = least_work(len(batch), search.features, width, search.device)
            if work_bytes < least_bytes:
                raise ValueError(
                    f"memory_mb is {memory_mb:g}, expected at least {memory_mb + (least_bytes - work_bytes) / MB:.0f} "
                    f"for {len(query)} queries and a batch of {len(batch)} rows; raise it, or pass fewer of either"
                )
            search.add(batch, first_index, work_bytes)
        search.end_pass()

        seconds[turn] = time.perf_counter() - began
        if search.done:
            break
    return Neighbours(search.nearest.distances, search.nearest.indices, search.certified, *seconds)


class Search:
    """A search that is fed batch by batch, so that one pass of a network over its images can feed many.

    Call `add` for every batch and then `end_pass`; while not `done`, do it once more.
    """

    def __init__(
        self, query: Features, k: int, *, backend: BackendName = "torch", spare: int = 16, width: int = 1024
    ) -> None:
        if k < 1 or spare < 0 or width < 1:
            raise ValueError(f"found k {k}, spare {spare}, width {width}, expected at least 1, 0 and 1")

        self.query = as_rows(query, None)
        self.low = self.query.float()
        self.device, self.features = self.query.device, self.query.shape[1]
        refuse_reduced_precision(self.device)

        self.k, self.spare, self.width = k, spare, width
        self.candidates, chain = backend_of(backend, self.features, width)
        self.slack = relative_error(chain + 8, torch.float32)
        self.squares = row_squares(self.low, width)

        self.nearest = Nearest(len(self.query), k, self.device)
        # The smallest float32 distance less its error among the rejected: no rejected row is nearer than this.
        self.floor = torch.full_like(self.squares, torch.inf)
        self.certified = torch.zeros(len(self.query), dtype=torch.bool, device=self.device)
        self.rows_seen = 0
        self.done = False
        self.second: Resolution | None = None

    def add(self, features: Features, first_index: int, work_bytes: float = 256 * MB) -> None:
        """Search one batch [B, D], whose rows are numbered from `first_index`, in about `work_bytes` beside it."""
        batch = as_rows(features, self.device)
        if batch.shape[1] != self.features:
            raise ValueError(f"a batch has {batch.shape[1]} features a row, expected {self.features} as in the queries")
        if len(batch):
            (self.second.add if self.second else self._add)(batch, first_index, work_bytes)

    def _add(self, batch: Tensor, first_index: int, work_bytes: float) -> None:
        self.rows_seen += len(batch)
        low = batch.float()
        squares = row_squares(low, self.width)
        # What is below 2^-126 may count as zero; the second term is more than that can come to.
        error = self.slack * (self.squares.sqrt() + squares.max().sqrt()).square() + self.features * 2.0**-120
        if not bool((error < 2.0**100).all()):  # nor is NaN
            raise UserError(
                "found features that are not finite, or too large to be multiplied in float32, expected smaller ones; "
                "the network overflows on an image"
            )

        count = min(self.k + self.spare, len(batch))
        for tile in tiles(len(self.query), 16 * len(batch), work_bytes / 2):
            limit = self.nearest.kth[tile] + error[tile]
            within, near, columns = self.candidates(
                self.low[tile], self.squares[tile], low, squares, count, limit, self.width
            )
            rows = within + tile.start
            if count < len(batch):  # the others of the batch are rejected
                self.floor[rows] = torch.minimum(self.floor[rows], near[:, -1] - error[rows])

            bar = limit[within]
            if count >= self.k:  # k rows of this very batch are as near
                bar = torch.minimum(bar, near[:, self.k - 1] + 2 * error[rows])
            passing = near <= bar[:, None]
            exact = torch.full_like(near, torch.inf)
            exact[passing] = exact_distances(self.query, rows[passing.nonzero()[:, 0]], batch, columns[passing])
            self.nearest.offer(rows, exact, columns + first_index)

    def end_pass(self) -> None:
        """After the last batch. Raises ValueError where there were fewer than k rows."""
        if self.second is None:
            if self.rows_seen < self.k:
                raise ValueError(f"k is {self.k}, but there are only {self.rows_seen} rows to search")
            self.certified = self.nearest.kth < self.floor
            self.done = bool(self.certified.all())
            if not self.done:
                self.second = Resolution(self)
        else:
            self._require_found(self.second.nearest)
            self.nearest.distances[self.second.rows] = self.second.nearest.distances
            self.nearest.indices[self.second.rows] = self.second.nearest.indices
            self.done = True

    def _require_found(self, nearest: Nearest) -> None:
        """Raises FeaturesChanged where the second pass has not met the k rows again that the first has."""
        lost = int((~nearest.kth.isfinite()).sum())
        if lost:
            raise FeaturesChanged(
                f"of {len(nearest.kth)} queries {lost} have fewer than {self.k} neighbours in pass two; expected "
                "the same features as in the first: make the network deterministic (runtime.deterministic: true)"
            )


class Resolution:
    """The pass in float64 for the queries that a search has not certified."""

    def __init__(self, search: Search) -> None:
        self.rows = (~search.certified).nonzero()[:, 0]
        self.query, self.width = search.query, search.width
        self.limit = search.nearest.kth[self.rows]  # k rows are known to be as near
        self.slack = relative_error(2 * search.features + 8, torch.float64)
        self.squares = row_squares(search.query, self.width, torch.float64)[self.rows]
        self.nearest = Nearest(len(self.rows), search.k, search.device)

    def add(self, batch: Tensor, first_index: int, work_bytes: float) -> None:
        squares = row_squares(batch, self.width, torch.float64)
        error = self.slack * (self.squares.sqrt() + squares.max().sqrt()).square()
        indices = torch.arange(first_index, first_index + len(batch), device=batch.device)
        for tile in tiles(len(self.rows), 64 * len(batch) + 4 * batch.shape[1], work_bytes / 2):
            rows = self.rows[tile]
            near = sliced_products(self.query[rows], batch, self.width, torch.float64)
            near = near.mul_(-2).add_(squares).add_(self.squares[tile, None])
            passing = near <= (self.limit[tile] + error[tile])[:, None]
            mine, theirs = passing.nonzero().T
            near.fill_(torch.inf)[passing] = exact_distances(self.query, rows[mine], batch, theirs)
            here = torch.arange(tile.start, tile.stop, device=batch.device)
            self.nearest.offer(here, near, indices.expand(near.shape))


def with_copy(rows: Tensor) -> int:
    """Bytes of rows, and of their float32 copy if they need one."""
    return rows.nbytes if rows.dtype == torch.float32 else rows.nbytes * 3 // 2


def least_work(rows: int, features: int, width: int, device: torch.device) -> int:
    """Bytes, beside queries and batch, without which a batch of `rows` cannot be searched: a tile of one query and
    one chunk of pairs, twice, and a slice in float64."""
    pairs = 16 * pairs_at_once(features, device) * features
    return 2 * (64 * rows + 4 * features + pairs) + 16 * min(width, features) * rows


def tiles(rows: int, bytes_a_row: int, work_bytes: float) -> Iterator[slice]:
    """Slices of the queries, each small enough for its work space."""
    size = max(1, int(work_bytes / bytes_a_row))
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
