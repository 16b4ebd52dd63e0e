"""The nearest rows that a search (eval/knn.py) has met so far."""

import torch
from torch import Tensor

NO_INDEX = torch.iinfo(torch.int64).max


class Nearest:
    """The k nearest rows so far of each query, ordered by (distance, index)."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self.distances = torch.full((queries, k), torch.inf, dtype=torch.float64, device=device)
        self.indices = torch.full((queries, k), NO_INDEX, device=device)

    @property
    def kth(self) -> Tensor:
        return self.distances[:, -1]

    def offer(self, rows: Tensor, distances: Tensor, indices: Tensor) -> None:
        """Offer to the queries `rows` [R] the rows `indices` [R, C] at `distances` [R, C]; infinity is no offer."""
        distances = torch.cat([self.distances[rows], distances], 1)
        indices = torch.cat([self.indices[rows], indices], 1)
        by_index = indices.argsort(1)
        distances, indices = distances.gather(1, by_index), indices.gather(1, by_index)
        order = distances.argsort(dim=1, stable=True)[:, : self.distances.shape[1]]
        self.distances[rows], self.indices[rows] = distances.gather(1, order), indices.gather(1, order)
