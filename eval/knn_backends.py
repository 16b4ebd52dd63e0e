"""The nearest rows of a batch by float32 distance, by torch or by FAISS: one signature, each the other's check.

This is the one module that imports FAISS, and only when it is asked for: always after torch, since the other order was
reported to crash and, on GPUs, to return wrong neighbours (facebookresearch/faiss issues 2126 and 4273).
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from eval.distances import chain_length, sliced_products
from seal.errors import UserError

BackendName = Literal["torch", "faiss"]

# (query [Q, D], |x|^2 [Q], batch [B, D], |y|^2 [B], count, limit [Q], slice width)
#   -> rows of the query [R], squared distances [R, count] ascending, columns [R, count].
# A backend may leave out the queries for which no distance is within their limit.
Candidates = Callable[[Tensor, Tensor, Tensor, Tensor, int, Tensor, int], tuple[Tensor, Tensor, Tensor]]


class BackendError(UserError):
    """A backend that cannot run here."""


def torch_candidates(
    query: Tensor, query_squares: Tensor, batch: Tensor, batch_squares: Tensor, count: int, limit: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    products = sliced_products(query, batch, width, torch.float32)
    partial = torch.add(batch_squares.float(), products, alpha=-2, out=products)  # |y|^2 - 2 x.y
    # A row's smallest takes a twentieth of top-k's time, and of a late batch few queries have a use.
    rows = (partial.amin(1) + query_squares <= limit).nonzero()[:, 0]
    if len(rows) < len(partial):
        partial = partial.index_select(0, rows)
    near, columns = partial.topk(count, largest=False)
    return rows, near + query_squares[rows, None], columns


def faiss_candidates(
    query: Tensor, query_squares: Tensor, batch: Tensor, batch_squares: Tensor, count: int, limit: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    faiss = load_faiss()
    if query.is_cuda:
        # FAISS takes torch's stream of the current device, whatever `device` says.
        with torch.cuda.device(query.device):
            near, columns = faiss.knn_gpu(_gpu_resources(), query, batch, count, device=query.device.index)
    else:
        faiss.omp_set_num_threads(torch.get_num_threads())
        near, columns = faiss.knn(query, batch, count)
    return torch.arange(len(query), device=query.device), near.double(), columns


def backend_of(name: BackendName, features: int, width: int) -> tuple[Candidates, int]:
    """The backend of that name, and the most float32 roundings that a term of its products goes through: FAISS may sum
    over all features in one chain. Raises BackendError where FAISS does not load or fails its self-test."""
    if name == "faiss":
        load_faiss()
        return faiss_candidates, features
    return torch_candidates, chain_length(features, width)


@cache
def load_faiss() -> Any:
    """FAISS, tested once. Raises BackendError."""
    try:
        import faiss
        import faiss.contrib.torch_utils  # lets knn and knn_gpu take torch's tensors where they lie
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"FAISS does not load ({error}); reinstall it, or use `backend: torch`") from error
    _self_test(faiss.knn, "cpu")
    return faiss


@cache
def _gpu_resources() -> Any:
    """One for the process: each takes up to 1.5 GB of the GPU's memory at its first use."""
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources"):
        raise BackendError(
            "found FAISS built for CPUs alone, expected one for a GPU: install faiss-gpu, or use `backend: torch`"
        )
    resources = faiss.StandardGpuResources()
    here = torch.cuda.current_device()
    _self_test(lambda query, batch, count: faiss.knn_gpu(resources, query, batch, count, device=here), "cuda")
    return resources


def _self_test(search: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]], device: str) -> None:
    """Integer points, whose distances float32 holds exactly, against the differences of every pair."""
    generator = torch.Generator().manual_seed(0)
    query, batch = (torch.randint(-99, 99, (rows, 24), generator=generator).float() for rows in (40, 300))
    distances, columns = (value.cpu() for value in search(query.to(device), batch.to(device), 7))
    every = (query[:, None] - batch).square().sum(2)
    nearest = every.topk(7, largest=False)[0]
    if not (torch.equal(distances, nearest) and torch.equal(every.gather(1, columns), nearest)):
        raise BackendError(f"FAISS returns wrong neighbours on the {device} here; use `backend: torch`")
