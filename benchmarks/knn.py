"""Seconds and memory of exact nearest neighbours, beside the bare matrix products and scikit-learn's brute force.

    python benchmarks/knn.py [--rows 100000] [--rounds 5]

(a) Training rows of 8,192 features, as many as a block of ResNet-50's last layer has at 64x64, stream in batches of
2,000 against 2,000 queries. Each batch is made, searched by plain torch (one product, top-k, merged with the best so
far) and then by `exact_knn`, so that a noisy neighbour meets both; making it counts for neither. Memory is the
process's highest while `exact_knn` works on a batch, above what it was before there were queries. scikit-learn
searches a part, scaled to all rows.
(b) 10,000 rows and 1,000 queries of 4,096 features at once, in turns.
Features are non-negative and of a few dimensions, like a block's outputs.
"""

import argparse
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sklearn
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from eval.knn import Neighbours, exact_knn
from eval.knn_backends import load_faiss
from seal.processor import cpu_name
from seal.rng import stream

FEATURES, QUERIES, BATCH, PART, K, MEMORY_MB = 8192, 2000, 2000, 4000, 5, 256
DIMENSIONS = 48


def rows(number: int, count: int, features: int, out: Tensor | None = None) -> Tensor:
    """Rows of batch `number`, float32 [count, features]."""
    mixing = torch.randn(DIMENSIONS, features, generator=stream(0, "benchmark mixing"))
    latent = torch.randn(count, DIMENSIONS, generator=stream(number, "benchmark rows"))
    return torch.mm(latent, mixing, out=out).relu_()


def resident_mb(field: str) -> float:
    """VmRSS, what the process holds now, or VmHWM, the most since the last reset."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) / 1024 if match else float("nan")


def bare(query: Tensor, batch: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The products and top-k alone, in float32: no norms of queries, no certificate, no float64."""
    partial = torch.mm(query, batch.T).mul_(-2).add_(batch.square().sum(1))
    return tuple(partial.topk(k, largest=False))  # type: ignore[return-value]


def streamed(total: int) -> None:
    before = resident_mb("VmRSS")
    query = rows(-1, QUERIES, FEATURES)
    buffer = torch.empty(BATCH, FEATURES)
    making, plain, highest = 0.0, 0.0, 0.0
    passes: list[float] = []  # seconds outside of the search, of each pass
    best = torch.full((QUERIES, K), torch.inf)

    def batches() -> Iterator[tuple[Tensor, int]]:
        nonlocal making, plain, highest, best
        passes.append(0.0)
        for first in range(0, total, BATCH):
            began = time.perf_counter()
            batch = rows(first, BATCH, FEATURES, out=buffer)
            made = time.perf_counter()
            if len(passes) == 1:
                near, _ = bare(query, batch, K)
                best = torch.cat([best, near], 1).topk(K, largest=False)[0]
            ended = time.perf_counter()
            making, plain, passes[-1] = making + made - began, plain + ended - made, passes[-1] + ended - began
            Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
            yield batch, first
            highest = max(highest, resident_mb("VmHWM"))

    found = exact_knn(query, batches, K, memory_mb=MEMORY_MB)
    ours = found.seconds - passes[0]
    again = found.resolving_seconds - sum(passes[1:])
    part = rows(0, PART, FEATURES)
    searcher = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(part.numpy())
    began = time.perf_counter()
    searcher.kneighbors(query.numpy())
    theirs = (time.perf_counter() - began) * total / PART
    print(f"(a) {total:,} rows of {FEATURES:,} features, {QUERIES:,} queries, k = {K}, batches of {BATCH:,}")
    print(f"  bare products and top-k {plain:8.1f} s   1.00x")
    print(
        f"  exact_knn               {ours:8.1f} s  {ours / plain:5.2f}x   {certified(found)}; second pass {again:.1f} s"
    )
    print(f"  scikit-learn, scaled    {theirs:8.1f} s  {theirs / plain:5.2f}x   from {PART:,} rows")
    print(f"  memory {highest - before:.0f} MB of memory_mb = {MEMORY_MB}; making the rows took {making:.1f} s")


def at_once(rounds: int) -> None:
    faiss, data, query = load_faiss(), rows(1, 10_000, 4096), rows(-1, 1000, 4096)
    batches = lambda: ((data[first : first + BATCH], first) for first in range(0, len(data), BATCH))  # noqa: E731
    results: dict[str, Neighbours] = {}

    def ours(backend: str) -> Callable[[], None]:
        def search() -> None:
            results[backend] = exact_knn(query, batches, K, memory_mb=512, backend=backend)  # type: ignore[arg-type]

        return search

    searcher = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(data.numpy())
    methods: dict[str, Callable[[], object]] = {
        "bare products and top-k": lambda: bare(query, data, K),
        "exact_knn, torch": ours("torch"),
        "exact_knn, faiss": ours("faiss"),
        "faiss.knn alone": lambda: faiss.knn(query, data, K),
        "scikit-learn, brute": lambda: searcher.kneighbors(query.numpy()),
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    for method in methods.values():
        method()
    for _ in range(rounds):
        for name, method in methods.items():
            began = time.perf_counter()
            method()
            times[name].append(time.perf_counter() - began)
    print(f"(b) 10,000 rows of 4,096 features, 1,000 queries, k = {K}, medians of {rounds} rounds")
    for name, values in times.items():
        pairs = [mine / theirs for mine, theirs in zip(values, times["bare products and top-k"], strict=True)]
        share = certified(results[name.split()[-1]]) if name.startswith("exact_knn") else ""
        spread = f"{min(values):.2f}-{max(values):.2f}"
        print(f"  {name:24}{statistics.median(values):7.2f} s ({spread})  {statistics.median(pairs):5.2f}x   {share}")


def certified(found: Neighbours) -> str:
    return f"{found.certified.double().mean():.1%} certified"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    versions = f"torch {torch.__version__}, faiss {load_faiss().__version__}, scikit-learn {sklearn.__version__}"
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, {versions}")
    streamed(arguments.rows)
    at_once(arguments.rounds)


if __name__ == "__main__":
    main()
