"""Packing a folder of generated JPEGs by the code of another commit and by this one, in turns: images a second, memory.

`python -m benchmarks.packing --images 100000 --before COMMIT`, and `--tiny` for files of a few pixels, which show what
a folder costs beside its images. Each round is a new process, and packs from nothing; the folder's listing is timed
again where nothing has changed.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from seal.processor import cpu_name

ROOT = Path(__file__).parents[1]
CLASSES = 100

# Runs with either code: what was one module has become two since.
PACK = """
import json, resource, sys, tempfile, time
from pathlib import Path
from seal.data import listing, packing
from seal.data.fetch import fetch
from seal.sections import Dataset, SplitFractions
try:
    from seal.data.places import Places, relocate
except ImportError:
    from seal.data.fetch import Places, relocate

folder, size, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keep = {"duplicates": "keep"} if "duplicates" in Dataset.model_fields else {}
dataset = Dataset(source="folder", path=folder, image_size=size, split=SplitFractions(test=0.2, val=0.1), **keep)
silent = lambda done, total: None

def seconds(work):
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        here, places = Path(place), Places(None)
        looked = dataset if keep else Path(folder)
        first, _ = seconds(lambda: listing.listing(looked, here / "states.json", silent))
        again, _ = seconds(lambda: listing.listing(looked, here / "states.json", silent))
        fetched, record = seconds(lambda: fetch("mine", dataset, places, silent))
        paths = relocate(record, dataset, places)
        packed, _ = seconds(lambda: packing.make_pack(
            here / "packs/mine.safetensors", "mine", dataset, record, paths,
            scratch=here / "scratch", workers=workers, report=silent))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"listed": first, "again": again, "fetched": fetched, "packed": packed, "peak_mib": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--before", metavar="COMMIT", help="whose code to pack with too")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tiny", action="store_true", help="PNGs of 4x4 pixels, packed at 4x4")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as place:
        folder, codes = Path(place) / "images", {"now": ROOT}
        size = 4 if options.tiny else 64
        generate(folder, options.images, size, "PNG" if options.tiny else "JPEG")
        if options.before:
            codes = {"before": unpacked(options.before, Path(place) / "before"), **codes}

        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in codes}
        for _ in range(options.rounds):
            for name, code in codes.items():
                rounds[name].append(packed(code, folder, size, options.workers))

    print(f"{options.images} images of {size}x{size}, {options.workers} workers, {options.rounds} rounds, {cpu_name()}")
    for name, measured in rounds.items():
        medians = {key: statistics.median(values[key] for values in measured) for key in measured[0]}
        facts = ", ".join(f"{key} {value:.2f}" for key, value in medians.items())
        print(f"{name}: {options.images / medians['packed']:.0f} images/s; {facts}")
    if options.before:
        pairs = zip(rounds["now"], rounds["before"], strict=True)
        ratios = sorted(now["packed"] / before["packed"] for now, before in pairs)
        print(f"time now over before: median {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


def generate(folder: Path, count: int, size: int, kind: str) -> None:
    """Smooth noise, so that a JPEG has a photograph's size; every image another."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label:03d}").mkdir(parents=True)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (max(size // 4, 2),) * 2 + (3,), np.uint8))
        content = io.BytesIO()
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(content, kind)
        (folder / f"class{number % CLASSES:03d}/{number}.{kind.lower()}").write_bytes(content.getvalue())


def unpacked(commit: str, folder: Path) -> Path:
    """The package of a commit."""
    archive = subprocess.run(["git", "archive", commit, "seal"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def packed(code: Path, folder: Path, size: int, workers: int) -> dict[str, float]:
    """Seconds and memory of one packing by that code."""
    script = folder.parent / "pack.py"  # a file, which a pool's new processes can import
    script.write_text(PACK, encoding="utf-8")
    command = [sys.executable, str(script), str(folder), str(size), str(workers)]
    environment = os.environ | {"PYTHONPATH": str(code)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    main()
