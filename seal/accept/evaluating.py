"""The evaluations' arithmetic on the device against the CPU in float64, and how fast it is at the paper's shape."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from eval.affines import tune
from eval.curvature import batch_hessian
from eval.distances import exact_distances
from eval.episodes import orders
from eval.heads import draw_heads, train_heads
from eval.knn import exact_knn
from eval.knn_backends import BackendError, BackendName
from eval.lanczos import lanczos
from seal.accept.bench import Bench, Result
from seal.accept.subjects import BATCH, CLASSES, PAPER
from seal.errors import first_line
from seal.models import ResNet, build
from seal.precision import arithmetic, computing
from seal.rng import stream

CPU = torch.device("cpu")
NEIGHBOURS = 5
EIGENVALUE_GAP, HEADS_GAP, AFFINES_GAP = 5e-3, 1e-4, 2e-2  # most that the device may be off float64, relative
SEEN = 500  # images that an evaluation shows to a network at once
TUNED = 256  # episodes tuned at once, of four images each a step
TUNED_IN = "tf32"  # as at the paper tier
PROTOCOL: Any = SimpleNamespace(
    learning_rate=0.01, weight_decay=1e-3, momentum=0.9, dampening=0.9, batch_size=4, affine_learning_rate=0.01,
    statistics="benchmark",
)  # fmt: skip


def network(bench: Bench, device: torch.device, dtype: torch.dtype, shape: tuple[int, int], classes: int) -> ResNet:
    """An untrained network whose statistics have seen some images, in evaluation mode."""
    depth, width = shape
    section: Any = SimpleNamespace(depth=depth, width=width, stem="imagenet", classifier_bias="zero")
    model = build(section, classes, stream(0, "initialisation"), device).to(dtype)
    with torch.no_grad():
        model.train()(images(bench, 40).to(device, dtype))
    return model.eval()


def images(bench: Bench, count: int) -> Tensor:
    side = 32 if bench.tiny else 64
    return torch.randn(count, 3, side, side, generator=stream(0, "images"))


def knn(bench: Bench) -> Result:
    """Neighbours by torch and by FAISS against differences of all pairs in float64; repeated rows tie."""
    rows, queries, features = (600, 40, 300) if bench.tiny else (20_000, 500, 4096)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(48, features, generator=generator)

    def drawn(count: int) -> Tensor:
        return torch.relu(torch.randn(count, 48, generator=generator) @ mixing)

    data, query = drawn(rows), drawn(queries)
    data[1::97] = data[::97][: len(data[1::97])]
    here, asked = data.to(bench.device), query.to(bench.device)

    of_all, columns = torch.empty(queries, rows, dtype=torch.float64), torch.arange(rows, device=bench.device)
    for at in range(queries):
        of_all[at] = exact_distances(asked, torch.full_like(columns, at), here, columns).cpu()
    truth = of_all.sort(dim=1, stable=True).indices[:, :NEIGHBOURS]

    def feed() -> Iterator[tuple[Tensor, int]]:
        for first in range(0, rows, 2000):
            yield here[first : first + 2000], first

    figures: Result = {"passed": True}
    backends: tuple[BackendName, ...] = ("torch", "faiss")
    for backend in backends:
        try:
            search = partial(exact_knn, asked, feed, NEIGHBOURS, memory_mb=4096, backend=backend)
            neighbours = search()
            seconds = bench.seconds(search, 0.5, 3)
        except BackendError as error:
            figures[backend] = {"left_out": first_line(error)}
            continue

        right = torch.equal(neighbours.indices.cpu(), truth)
        certified = float(neighbours.certified.double().mean())
        figures[backend] = {"equals_float64": right, "certified": certified, "seconds": seconds}
        figures["passed"] &= right

    gigaflop = 2 * rows * queries * features / 1e9
    return figures | {"rates": {"searched": gigaflop / figures["torch"]["seconds"]}}


def hessian(bench: Bench) -> Result:
    """Lanczos' eigenvalues on the device against the CPU in float64, and a product's time at the paper's shape."""
    x, y = images(bench, BATCH), torch.randint(CLASSES, (BATCH,), generator=stream(0, "labels"))
    values: dict[str, Tensor] = {}
    products = 0
    with arithmetic("float32"):
        for name, device, dtype in (("cpu", CPU, torch.float64), ("device", bench.device, torch.float32)):
            model = network(bench, device, dtype, (18, 4), CLASSES)
            batch = x.to(device, dtype), y.to(device)
            operator = batch_hessian(model, batch, label_smoothing=0.1, weight_decay=5e-4)
            start = torch.randn(operator.size, generator=stream(0, "start")).to(device, dtype)
            solved = lanczos(operator.matvec, start, 3, "magnitude", tolerance=1e-3, first_steps=8, max_steps=120)
            values[name], products = solved.values, solved.products

        exact, ours = values["cpu"], values["device"]
        gap = float(((exact - ours).abs() / exact.abs()).max())

        model = network(bench, bench.device, torch.float32, (18, 4) if bench.tiny else PAPER, CLASSES)
        batch = x.to(bench.device), y.to(bench.device)
        operator = batch_hessian(model, batch, label_smoothing=0.1, weight_decay=5e-4)
        vector = torch.randn(operator.size, device=bench.device)
        seconds = bench.seconds(partial(operator.matvec, vector), 1.5, 3)

    return {
        "eigenvalues": {"cpu": exact.tolist(), "device": ours.tolist()}, "products": products,
        "largest_gap": gap, "ms_a_product": seconds * 1e3, "rates": {"curved": BATCH / seconds},
        "passed": gap < EIGENVALUE_GAP,
    }  # fmt: skip


def fewshot(bench: Bench) -> Result:
    """Linear heads, scales and shifts on the device against the CPU in float64; forward passes and steps timed.

    All in float32, but for the steps, which are timed in the precision that params/paper.yaml gives fewshot_affines.
    """
    ends: dict[str, tuple[Tensor, Tensor]] = {}
    with computing("float32", bench.device):
        for name, device, dtype in (("cpu", CPU, torch.float64), ("device", bench.device, torch.float32)):
            ends[name] = _heads(device, dtype), _affines(bench, device, dtype)
        heads_gap, affines_gap = map(_gap, ends["cpu"], ends["device"])

        model = network(bench, bench.device, torch.float32, (18, 4) if bench.tiny else PAPER, CLASSES)
        model.requires_grad_(False)
        many = images(bench, 8 if bench.tiny else SEEN).to(bench.device)
        with torch.no_grad():
            seen = len(many) / bench.seconds(lambda: model(many), 0.5, 3)

    with computing(TUNED_IN, bench.device):
        tuned = _tuned_images_a_second(bench, model, many)

    return {
        "heads_gap": heads_gap, "affines_gap": affines_gap,
        "passed": heads_gap < HEADS_GAP and affines_gap < AFFINES_GAP,
        "rates": {"seen": seen, "tuned": tuned},
    }  # fmt: skip


def _gap(exact: Tensor, ours: Tensor) -> float:
    return float((exact - ours.double()).norm() / exact.norm())


def _heads(device: torch.device, dtype: torch.dtype) -> Tensor:
    features = torch.randn(20, 25, 64, generator=stream(0, "features")).relu()
    labels = torch.arange(5).repeat_interleave(5)
    heads = draw_heads(0, range(20), 5, 64).to(device, dtype)
    order = orders(0, range(20), 25, 20)
    return train_heads(features.to(device, dtype), labels.to(device), heads, order, PROTOCOL).cpu()


def _affines(bench: Bench, device: torch.device, dtype: torch.dtype) -> Tensor:
    model = network(bench, device, dtype, (18, 4), 10).requires_grad_(False)
    pixels = images(bench, 40).to(device, dtype)
    support = [torch.randperm(40, generator=stream(0, "support", number))[:10] for number in range(3)]
    heads = draw_heads(0, range(3), 2, model.fc.in_features).to(device, dtype)
    labels = torch.arange(2, device=device).repeat_interleave(5)
    order = orders(0, range(3), 10, 2)
    tuned = tune(model, pixels.__getitem__, torch.stack(support).to(device), labels, heads, order, PROTOCOL)
    return tuned.heads.detach().cpu()


def _tuned_images_a_second(bench: Bench, model: ResNet, many: Tensor) -> float:
    episodes, epochs = (2, 1) if bench.tiny else (TUNED, 2)
    where = torch.randint(len(many), (episodes, 20), device=bench.device)
    heads = draw_heads(0, range(episodes), 5, model.fc.in_features).to(bench.device)
    labels = torch.arange(5, device=bench.device).repeat_interleave(4)

    def tuning() -> None:
        tune(model, many.__getitem__, where, labels, heads, orders(0, range(episodes), 20, epochs), PROTOCOL)

    return episodes * 20 * epochs / bench.seconds(tuning, 1.0, 2)
