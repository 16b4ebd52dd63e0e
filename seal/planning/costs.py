"""What a stage costs before it has run: images through the network, sums of products, seconds and bytes of disk.

An image trained - forward, backward, step - is the unit; the constants say what else is worth in it.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from seal.config import BASE_ARM, BASE_KEYS, Params
from seal.data.fetch import DOWNLOADS, Places, locate, source_of
from seal.data.pack import METADATA, PACKS, SPLITS
from seal.data.selection import parameters_of, read_list
from seal.sections import Dataset, SplitFractions

FORWARD = 1 / 3  # a backward pass costs about two forward ones
AFFINE = 0.7  # of an image trained; on a CPU 0.5 to 0.8, episodes together and weights standing still
PRODUCT = 2.5  # of an image trained: a Hessian-vector product differentiates a gradient
LANCZOS, LARGEST, POWER = 25, 10, 350  # products: a batch's five eigenvalues, the largest of the fixed, PyHessian's way
AFFINES_FIRST = 9.0  # s, whatever the number of episodes; measured at smoke
NEIGHBOURS = 4  # times the bare products at their best rate: probes by block and class, selection, proof
FEWSHOT_STEP = 2e-6  # s, a linear layer of one episode, trained beside others; two cores
PROBE_STEP, PROBE_CLASS = 2.2e-4, 4.7e-6  # s a step of three rates, and for each class; benchmarks/README.md
PACKED = 3000  # images decoded and resized per second; measured 1,300 to 5,000
DOWNLOADED = 10e6  # bytes per second, an assumption
UNKNOWN_IMAGES = 2000  # of a dataset whose size is known only once it is packed
SMALL = {"fetch": 1.0, "curves": 0.5, "claims": 2.0, "report": 8.0}  # s
STAGE = re.compile(r"(?P<name>\w+)(@(?P<key>.+))?")
RUN = re.compile(r"(?P<run>[a-z0-9_]+-\d+)(-(?P<target>[a-z0-9_]+))?")
TRAINING = ("base", "train", "train_extra", "train_sensitivity")


@dataclass(frozen=True)
class Network:
    """What the costs need to know of the model."""

    parameters: int
    features: int  # of one image, all blocks' outputs together


@dataclass(frozen=True)
class Work:
    images: float = 0.0  # as if trained
    gflop: float = 0.0
    seconds: float = 0.0
    bytes: float = 0.0

    def time(self, images_per_second: float, gflops: float) -> float:
        return self.images / images_per_second + self.gflop / gflops + self.seconds


def parts(stage: str) -> tuple[str, str | None, str | None]:
    """A stage's name, run and target or dataset: `transfer@seal-0-digits` -> transfer, seal-0, digits."""
    match = STAGE.fullmatch(stage)
    assert match is not None, stage
    name, key = match["name"], match["key"]
    if name == "base":
        return name, f"{BASE_ARM}-{key}", None
    if name in ("fetch", "pack") or key is None:
        return name, None, key
    run = RUN.fullmatch(key)
    return (name, run["run"], run["target"]) if run else (name, None, key)


def work(stage: str, params: Params, network: Network) -> Work:
    """Of one stage. A stage that this file does not know costs its start alone."""
    name, run, target = parts(stage)
    if name in ("fetch", "pack"):
        return _data(name, params.datasets[str(target)], sum(images(str(target), params)))
    if run is None or not (name in TRAINING or hasattr(params, name)):
        return Work(seconds=SMALL.get(name, 0.0), bytes=2e6)
    if name in TRAINING:
        return _training(run, params, network)
    counts = images(target or params.source, params)
    if name == "hessian":
        return _hessian(params)
    if name == "prediction_depth":
        train, _, test = counts
        kept = {*params.generations.kept_generations} if not run.startswith(f"{BASE_ARM}-") else {1}
        wanted = params.prediction_depth.generations
        many = 1 if isinstance(wanted, str) else len(kept & {*wanted})
        flop = NEIGHBOURS * 2.0 * train * test * network.features
        return Work(many * FORWARD * (train + test), many * flop / 1e9, bytes=many * 1e6)
    seen = FORWARD * sum(counts)
    if name == "transfer":
        transfer = params.transfer
        steps = transfer.epochs * (1 if counts[1] else 2) * math.ceil(counts[0] / transfer.batch_size)
        each = PROBE_STEP + PROBE_CLASS * classes(params.datasets[str(target)])
        return Work(seen, seconds=steps * each, bytes=1e5)
    shots = params.fewshot if name == "fewshot" else params.fewshot_affines
    if name == "fewshot":
        steps = sum(shots.epochs * math.ceil(shots.n_way * shot / shots.batch_size) for shot in shots.shots)
        return Work(seen, seconds=FEWSHOT_STEP * shots.episodes * steps, bytes=1e5)
    trained = AFFINE * shots.epochs * sum(shots.shots) + FORWARD * shots.n_query * len(shots.shots)
    return Work(shots.episodes * shots.n_way * trained, seconds=AFFINES_FIRST, bytes=1e5)


def _data(name: str, dataset: Dataset, count: int) -> Work:
    if name == "pack":
        return Work(seconds=count / PACKED, bytes=3.0 * count * dataset.image_size**2)
    source, seconds, size = source_of(dataset), SMALL["fetch"], 0.0
    if source.package is None and locate(source, dataset, Places.of_environment()) is None:
        lacking = [archive for archive in source.archives if not (DOWNLOADS / archive.name).exists()]
        size = float(sum(archive.bytes or 0 for archive in lacking))
        seconds += sum(archive.bytes or 0 for archive in lacking if archive.url is not None) / DOWNLOADED
    return Work(seconds=seconds, bytes=size)


def _training(name: str, params: Params, network: Network) -> Work:
    run = params.find_run(name)
    train, val, test = images(params.source, params)
    own, generations = run.generations, run.generations.num_generations
    plain = params.base_of(name)
    shared = (
        run.arm != BASE_ARM
        and own.first_ascent_generation > 1
        and own.schedule == "per_generation"
        and run.training == plain.training
        and all(getattr(own, key) == getattr(plain.generations, key) for key in BASE_KEYS)
    )
    ascends = 1 if run.method.startswith("seal") and own.ascent_epochs else 0
    epoch = train + FORWARD * val
    end = 2 * FORWARD * (train * (1 + ascends) + test)  # clean images twice at each phase's end; last and best weights
    # Kept weights; in scratch every generation's, and a resume state of weights, momentum and best weights.
    copies = len({*own.kept_generations} if run.arm != BASE_ARM else {1}) + generations + 3
    new = generations - (1 if shared else 0)
    return Work(new * (run.training.epochs_per_generation * epoch + end), bytes=4.0 * network.parameters * copies)


def _hessian(params: Params) -> Work:
    hessian = params.hessian
    products = sum({"lanczos": LANCZOS, "power": POWER}[solver] for solver in hessian.solvers)
    batches = hessian.batches * products + hessian.fixed_batches * LARGEST
    return Work(PRODUCT * hessian.batch_size * batches, bytes=1e5)


def classes(dataset: Dataset) -> int:
    if isinstance(dataset.classes, list):
        return len(dataset.classes)
    return dataset.classes or source_of(dataset).classes or 10


def images(name: str, params: Params) -> tuple[int, int, int]:
    """Of train, val and test: of the pack where there is one of this very selection, else as source and split say."""
    dataset = params.datasets[name]
    if (packed := _packed(PACKS / f"{name}.safetensors", dataset)) is not None:
        return packed
    if isinstance(dataset.split, SplitFractions):
        total = dataset.images_per_class * classes(dataset) if dataset.images_per_class else _total(dataset)
        held = round(total * dataset.split.val), round(total * dataset.split.test)
        return total - sum(held), *held
    if dataset.split != "official":
        splits = list(read_list(Path(dataset.split)).values())
        return splits.count("train"), splits.count("val"), splits.count("test")
    official = _by_split(dataset)
    return official.get("train", 0), official.get("val", 0), official.get("test", 0)


def _packed(pack: Path, dataset: Dataset) -> tuple[int, int, int] | None:
    """Images of a pack's splits; None where it holds another selection, as another tier's does, or is no whole pack."""
    if not pack.exists():
        return None
    try:
        with safe_open(pack, framework="np") as file:
            provenance = json.loads(file.metadata()[METADATA]).get("provenance", {})
            wanted = json.loads(json.dumps({"source": dataset.source, "selection": parameters_of(dataset)}))
            if any(provenance.get(key) != value for key, value in wanted.items()):
                return None
            train, val, test = (int(file.get_slice(f"{split}/labels").get_shape()[0]) for split in SPLITS)
    except (SafetensorError, LookupError, TypeError, ValueError):
        return None
    return train, val, test


def _total(dataset: Dataset) -> int:
    return sum(_by_split(dataset).values()) or UNKNOWN_IMAGES


def _by_split(dataset: Dataset) -> dict[str, int]:
    source = source_of(dataset)
    each = {
        split: count * classes(dataset) if isinstance(count, int) else sum(count.values())
        for split, count in source.per_class.items()
    }
    return each | dict(source.images)
