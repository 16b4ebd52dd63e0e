"""Facts about torch and FAISS, one JSON object a line: `python -m seal.doctor.probe`.

Run in a process of its own, since two CUDA stacks in one process may end it without a word.
"""

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

Facts = Mapping[str, Any]


def probed() -> dict[str, Any]:
    """The facts of `probe` as far as its process came; `error` is the last word of that process."""
    command = [sys.executable, "-m", "seal.doctor.probe"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    facts = {key: value for line in run.stdout.splitlines() for key, value in json.loads(line).items()}
    error = (run.stderr.strip().splitlines() or [f"status {run.returncode}"])[-1]
    return {"error": error, "gpus": []} | facts


def probe() -> Iterator[Facts]:
    """Facts about torch, then FAISS. The other order of imports was reported to give wrong neighbours on a GPU."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        import torch

        devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
        if not torch.cuda.is_available():
            devices = []
    gpus = [f"{it.name}, {it.total_memory / 2**30:.0f} GiB, compute capability {it.major}.{it.minor}" for it in devices]
    lines = [str(warning.message).splitlines()[0] for warning in said if "CUDA" in str(warning.message)]
    yield {"threads": torch.get_num_threads(), "cuda": torch.version.cuda, "gpus": gpus, "warnings": lines}
    import faiss
    import numpy as np

    generator = np.random.default_rng(0)
    base, queries = (generator.standard_normal((rows, 64), dtype=np.float32) for rows in (1000, 20))
    exact = np.square(queries[:, None].astype(np.float64) - base).sum(2).argsort(1)[:, :5]
    index = faiss.IndexFlatL2(64)
    index.add(base)
    neighbours = {"CPU": bool((index.search(queries, 5)[1] == exact).all())}
    if count := faiss.get_num_gpus():
        _, found = faiss.knn_gpu(faiss.StandardGpuResources(), queries, base, 5)
        neighbours["GPU"] = bool((found == exact).all())
    yield {"faiss": faiss.__version__, "faiss_gpus": count, "neighbours": neighbours}


if __name__ == "__main__":
    for _facts in probe():
        print(json.dumps(_facts), flush=True)
