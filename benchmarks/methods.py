"""What a step of each method costs beside one of normal training: masks, a teacher's forward pass, coins.

    python benchmarks/methods.py [--tier mini] [--rounds 21] [--batches 8] [--keep]

Both train the tier's network on random images of its size, generation 2, in turns of a few batches, so that a noisy
neighbour meets both. Prints the median of the pairs' ratios and their quartiles. By arithmetic: a mask multiplies each
gradient once, under 5%; a teacher's forward pass is a third of a step; a coin is nothing. What is done once in a
generation (redrawing, ranking) is not in it. `--keep` writes benchmarks/methods.csv, which the report's table reads.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from seal.checkpoint import State
from seal.clock import Clock
from seal.config import Params
from seal.data.batches import Batches
from seal.processor import cpu_name
from seal.record import Row, write_csv
from seal.rng import stream
from seal.sections import Run
from seal.tiers import TIERS, tier_params
from seal.trainer import Data, Trainer

ARMS = (
    "normal_long", "llf", "seal", "ke_wels", "ke_kels", "shrink_perturb", "imp", "imp_late", "dsd", "ban", "ban_labels",
    "sagd",
)  # fmt: skip
KEPT = Path("benchmarks/methods.csv")
CLASSES, SIZE = 20, 64
CLIMBING = [{"train_loss": 2.0}, {"train_loss": 1.0}]  # rows after which SA-GD's chance is at its cap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", default="mini", choices=TIERS)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT}")
    arguments = parser.parse_args()
    params = tier_params(arguments.tier)

    plain = in_generation_2(params.run("normal_long", 0), arguments.batches)
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{describe(params)}; medians and quartiles of {arguments.rounds} pairs of {arguments.batches} steps")
    rows: list[Row] = []
    for arm in ARMS:
        trainer = in_generation_2(params.run(arm, 0), arguments.batches)
        ratios = [seconds(trainer) / seconds(plain) for _ in range(arguments.rounds)]
        first, median, third = statistics.quantiles(ratios, n=4)
        print(f"{arm:14} {median:5.2f}  ({first:.2f} to {third:.2f})", flush=True)
        rows.append({
            "arm": arm, "step_beside_normal": f"{median:.3f}", "first_quartile": f"{first:.3f}",
            "third_quartile": f"{third:.3f}", "cpu": cpu_name(), "threads": torch.get_num_threads(),
        })  # fmt: skip
    if arguments.keep:
        write_csv(KEPT, [*rows[0]], rows)


def describe(params: Params) -> str:
    model, training = params.model, params.training
    return f"ResNet-{model.depth} of width {model.width}, {SIZE}x{SIZE}, batches of {training.batch_size}"


def in_generation_2(run: Run, batches: int) -> Trainer:
    """A trainer as generation 2 begins, two batches warm."""
    trainer, state = Trainer(run, random_data(run, batches), torch.device("cpu")), State()
    state.take(trainer.model, trainer.optimizer, trainer.names)
    state.previous, state.rows = state.copied(), CLIMBING
    trainer.begin_epoch(Clock(2, 0), state)
    seconds(trainer)
    return trainer


def random_data(run: Run, batches: int) -> Data:
    training, generator = run.training, stream(0, "benchmark")
    count = batches * training.batch_size
    images = torch.randint(256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    split = Batches(
        images, torch.arange(count) % CLASSES, batch_size=training.batch_size, mean=training.mean, std=training.std,
        flip=True, crop_padding=training.crop_padding, device="cpu", channels_last=training.channels_last,
    )  # fmt: skip
    return Data(split, split, split, split, CLASSES)


def seconds(trainer: Trainer) -> float:
    began = time.perf_counter()
    trainer.train_epoch(Clock(2, 0), lambda *batch: None)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
