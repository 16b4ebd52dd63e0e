"""Facts about torch and FAISS, one JSON object a line: `python -m seal.doctor.probe`.

Run in a process of its own, since two CUDA stacks in one process may end it without a word.
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

Facts = Mapping[str, Any]


def probed() -> dict[str, Any]:
    """The facts of `probe` as far as its process came; `error` is the last word of that process."""
    command = [sys.executable, "-m", "seal.doctor.probe"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    last_words = run.stderr.strip().splitlines() or [f"status {run.returncode}"]
    facts: dict[str, Any] = {"error": last_words[-1], "gpus": []}
    for line in run.stdout.splitlines():
        with suppress(ValueError, TypeError):  # a library's own word
            facts |= json.loads(line)
    return facts


def probe() -> Iterator[Facts]:
    """Facts about torch, then FAISS. The other order of imports was reported to give wrong neighbours on a GPU."""
    yield torch_facts()
    yield faiss_facts()


def torch_facts() -> Facts:
    """Threads, CUDA's version, GPUs, and what torch warns of CUDA, the first line of each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import torch

        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        if not torch.cuda.is_available():
            devices = []

    gpus = []
    for gpu in devices:
        memory = f"{gpu.total_memory / 2**30:.0f} GiB"
        gpus.append(f"{gpu.name}, {memory}, compute capability {gpu.major}.{gpu.minor}")

    lines = []
    for warning in caught:
        message = str(warning.message)
        if "CUDA" in message:
            lines.append(message.splitlines()[0])
    return {"threads": torch.get_num_threads(), "cuda": torch.version.cuda, "gpus": gpus, "warnings": lines}


def faiss_facts() -> Facts:
    """Version, GPUs, and on which devices the five nearest of 1,000 rows are those of brute force in float64."""
    import faiss
    import numpy as np

    generator = np.random.default_rng(0)
    base = generator.standard_normal((1000, 64), dtype=np.float32)
    queries = generator.standard_normal((20, 64), dtype=np.float32)
    exact = np.square(queries[:, None].astype(np.float64) - base).sum(2).argsort(1)[:, :5]

    index = faiss.IndexFlatL2(64)
    index.add(base)
    neighbours = {"CPU": bool((index.search(queries, 5)[1] == exact).all())}

    if gpu_count := faiss.get_num_gpus():
        _, on_gpu = faiss.knn_gpu(faiss.StandardGpuResources(), queries, base, 5)
        neighbours["GPU"] = bool((on_gpu == exact).all())
    return {"faiss": faiss.__version__, "faiss_gpus": gpu_count, "neighbours": neighbours}


if __name__ == "__main__":
    for _facts in probe():
        print(json.dumps(_facts), flush=True)
