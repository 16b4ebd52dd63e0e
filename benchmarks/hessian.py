"""Hessian-vector products, and seconds, for a batch's five largest eigenvalues: Lanczos and power iteration.

    python benchmarks/hessian.py [--run seal-0] [--batches 3]

Both work on the same retained graph of an augmented batch of 32, batch by batch, from seeded vectors. Without --run the
network is smoke's, trained here on scikit-learn's digits; with it, the last weights of a run in results/, after `make
repro`. A residual is the worst true |Hv - lv| / |l| of the five. (a) is what PyHessian's stopping rule leaves; for (b)
power iteration goes on until the values change by less and less. Lanczos is counted at the smallest number of steps
that reaches the residual, without the products that measure it; `adaptive` is what the stage does: it finds the number
itself, and its check of the residuals counts.
"""

import argparse
import time

import torch
from sklearn.datasets import load_digits

from eval.curvature import batch_hessian
from eval.hessian import augmented
from eval.lanczos import Krylov, lanczos
from eval.power_iteration import power_iteration
from eval.spectrum import Eigenvalues, Product
from seal.checkpoint import load_tensors
from seal.clock import Clock
from seal.config import Params, load_params
from seal.data.batches import Batches
from seal.data.pack import PACKS, open_pack
from seal.evaluations import Hessian
from seal.models import ResNet
from seal.processor import cpu_name
from seal.record import RESULTS
from seal.rng import stream
from seal.sections import Run
from seal.tiers import tier_params
from seal.trainer import Data, Trainer

EPOCHS, COUNT, STEPS = 20, 5, 200


def batches_of(run: Run, images: torch.Tensor, labels: torch.Tensor) -> Batches:
    training = run.training
    return Batches(
        images, labels, batch_size=training.batch_size, mean=training.mean, std=training.std, flip=training.flip,
        crop_padding=training.crop_padding, device="cpu", channels_last=False,
    )  # fmt: skip


def trained_here(run: Run) -> tuple[ResNet, Batches]:
    """Smoke's network after one cosine on the digits, at 24x24 pixels."""
    run = run.model_copy(update={"training": run.training.model_copy(update={"epochs_per_generation": EPOCHS})})
    digits = load_digits()
    images = torch.from_numpy(digits.images * 255 / 16).to(torch.uint8).repeat_interleave(3, 1).repeat_interleave(3, 2)
    train = batches_of(run, images[..., None].expand(-1, -1, -1, 3).contiguous(), torch.from_numpy(digits.target))
    trainer = Trainer(run, Data(train, train.plain(), train.plain(), train.plain(), 10), torch.device("cpu"))
    for epoch in range(EPOCHS):
        trainer.begin_epoch(Clock(1, epoch))
        row = trainer.train_epoch(Clock(1, epoch), lambda *_: None)
    print(
        f"ResNet-18, width 8, {EPOCHS} epochs on 1,797 digits of 24x24: training accuracy {row['train_accuracy']:.1%}"
    )
    return trainer.model.eval(), train


def trained_before(params: Params, run: Run) -> tuple[ResNet, Batches]:
    path = sorted((RESULTS / run.name / "weights").glob("gen-*.safetensors"))[-1]
    tensors, _ = load_tensors(path)
    model = ResNet(run.model, len(tensors["fc.bias"]))
    model.load_state_dict(tensors)
    split = open_pack(PACKS / f"{params.source}.safetensors")["train"]
    print(f"{path}, {params.source}")
    return model.eval(), batches_of(run, split.images, split.labels)


def fewest_steps(product: Product, start: torch.Tensor, wanted: float) -> int:
    """The smallest number of Lanczos steps, and so of products, after which all residuals are small enough."""
    krylov = Krylov(product, start)
    for steps in range(COUNT, STEPS + 1):
        krylov.extend(steps)
        values, coordinates, _ = krylov.ritz(COUNT, "magnitude")
        gaps = krylov.true_gaps(values, coordinates)
        if (gaps / values.abs()).max() <= wanted:
            return steps
    raise SystemExit(f"Lanczos has not come to {wanted:g} in {STEPS} steps")


class Count:
    """Products and seconds of the batches so far."""

    def __init__(self) -> None:
        self.products: list[int] = []
        self.seconds = 0.0

    def add(self, products: int, seconds: float) -> None:
        self.products.append(products)
        self.seconds += seconds

    def line(self, words: str, beside: "Count") -> str:
        total = sum(self.products)
        ratios = [theirs / mine for theirs, mine in zip(beside.products, self.products, strict=True)]
        fewer = f"{sum(beside.products) / total:.1f}x fewer ({min(ratios):.1f}-{max(ratios):.1f})"
        faster = f"{beside.seconds / self.seconds:.1f}x the speed"
        return f"  {words:18}{total:5} products {self.seconds:7.1f} s  {fewer}, {faster}"


def compare(
    product: Product, starts: list[torch.Tensor], params: Hessian, counts: dict[str, dict[str, Count]]
) -> list[str]:
    """One batch: to the residual that PyHessian's rule leaves, and to 1e-3."""

    def power(tolerance: float, max_steps: int) -> tuple[Eigenvalues, float, float]:
        began = time.perf_counter()
        found = power_iteration(product, starts, tolerance=tolerance, max_steps=max_steps)
        share = 1 - COUNT / found.products  # the rest measures residuals
        return found, found.residuals.max().item(), (time.perf_counter() - began) * share

    words = []
    product(starts[0])  # the first builds its kernels
    theirs, residual, seconds = power(params.power_tolerance, params.power_steps)
    for case, wanted in zip(counts, (residual, 1e-3), strict=True):
        for tolerance in (1e-5, 1e-6, 1e-7, 1e-8):
            if residual > wanted:
                theirs, residual, seconds = power(tolerance, 300)
        counts[case]["power iteration"].add(theirs.products - COUNT, seconds)

        steps = fewest_steps(product, starts[0], wanted)
        began = time.perf_counter()
        krylov = Krylov(product, starts[0])
        krylov.extend(steps)
        ours, _, _ = krylov.ritz(COUNT, "magnitude")
        counts[case]["Lanczos"].add(steps, time.perf_counter() - began)

        began = time.perf_counter()
        adaptive = lanczos(
            product, starts[0], COUNT, "magnitude",
            tolerance=wanted, first_steps=params.first_steps, max_steps=params.max_steps,
        )  # fmt: skip
        counts[case]["Lanczos, adaptive"].add(adaptive.products, time.perf_counter() - began)
        largest = f"{theirs.values[0]:.5g} and {ours[0]:.5g}"
        words.append(f"{case} {theirs.products - COUNT} to {residual:.2g}, {steps} to {wanted:.2g}, largest {largest}")
    return words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run in results/, e.g. seal-0; without it a network is trained here")
    parser.add_argument("--batches", type=int, default=3)
    arguments = parser.parse_args()
    params = load_params() if arguments.run else tier_params("smoke")
    run = params.find_run(arguments.run or "normal-0")
    model, train = trained_before(params, run) if arguments.run else trained_here(run)
    loss = {"label_smoothing": run.training.label_smoothing, "weight_decay": run.training.weight_decay}
    model.requires_grad_(True)
    methods = ("power iteration", "Lanczos", "Lanczos, adaptive")
    counts = {case: {method: Count() for method in methods} for case in ("(a)", "(b)")}
    size = sum(parameter.numel() for parameter in model.parameters())
    machine = f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"{machine}; {size:,} parameters, {arguments.batches} batches of {train.batch_size}")
    for number, batch in enumerate(augmented(train, arguments.batches, 0)):
        operator = batch_hessian(model, batch, **loss)
        starts = [torch.randn(size, generator=stream(0, "benchmark", number, each)) for each in range(COUNT)]
        found = compare(operator.matvec, starts, params.hessian, counts)
        print(f"batch {number}: {'; '.join(found)}", flush=True)
    for case, words in (("(a)", "PyHessian's own worst residual on each batch"), ("(b)", "1e-3")):
        print(f"{case} to {words}:")
        for method, count in counts[case].items():
            print(count.line(method, counts[case]["power iteration"]))


if __name__ == "__main__":
    main()
