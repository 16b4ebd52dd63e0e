"""Is this the authors' method? Their public trainer and ours, from the same weights on the same batches, in float64.

    git clone https://github.com/amiiir-sarfi/SEAL /tmp/authors
    python -m benchmarks.authors_code --clone /tmp/authors

Both networks first: logits and gradients. Then both trainers on random images, three generations of a narrow network,
which theirs takes as an argument: after each epoch the largest difference of any weight or statistic, relative to the
largest of its tensor. Two controls, in which ours does what theirs does not, say what the figure would be if the two
were not the same method. Last the rates of both in float32, with each one's own ResNet-18.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.authors_trainer import URL, Weights, authors_modules, commit_of, train_theirs
from benchmarks.methods import CLASSES, SIZE, random_data
from seal.clock import Clock
from seal.data.batches import Batches
from seal.errors import one_line_errors
from seal.models import build
from seal.processor import cpu_name
from seal.rng import stream
from seal.sections import Run
from seal.tiers import tier_params
from seal.trainer import Data, Trainer

WIDTH, GENERATIONS, EPOCHS, ASCENT_EPOCHS, WARMUP_EPOCHS = 8, 3, 4, 2, 1
BATCH_SIZE, BATCHES, LEARNING_RATE = 16, 4, 0.01
CPU = torch.device("cpu")
EPOCHS_RUN = [Clock(generation, epoch) for generation in range(1, GENERATIONS + 1) for epoch in range(EPOCHS)]


@dataclass(frozen=True)
class Setting:
    """One training of both: our arm with its numbers, and the arguments of their command."""

    name: str
    arm: str
    theirs: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)  # of our method
    generations: dict[str, Any] = field(default_factory=dict)  # of our section


def seal(name: str, decay: str, multiplier: str, **generations: Any) -> Setting:
    """SEAL with a treatment of the decay while it ascends; theirs multiplies by S < 0 whatever the decay adds."""
    theirs = ("--exp_mode=ascend", f"--ascenders_wd_multiplier={multiplier}")
    return Setting(name, "seal", theirs, {"ascent_weight_decay": decay}, generations)


SETTINGS = (
    Setting("Normal, long", "normal_long", ("--exp_mode=normal",)),
    Setting("LLF", "llf", ("--exp_mode=fortuitous",)),
    seal("SEAL, decay adjusted", "adjusted", "-1"),
    seal("SEAL, decay off", "off", "0"),
    seal("SEAL, decay grows", "grow", "1"),
    seal("control: decay off, theirs adjusted", "off", "-1"),
    seal("control: momentum kept, theirs cleared", "adjusted", "-1", reset_momentum=False),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clone", type=Path, default=Path("authors"), metavar="DIR", help=f"a clone of {URL}")
    parser.add_argument("--rounds", type=int, default=5, help="of the two rates, in turns")
    arguments = parser.parse_args()
    with one_line_errors("error"):
        commit = commit_of(arguments.clone)

    core, config = authors_modules(arguments.clone)
    print(f"{URL} at {commit}")
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    torch.set_default_dtype(torch.float64)
    compare_networks()
    compare_trainers(core, config)
    torch.set_default_dtype(torch.float32)
    compare_rates(core, config, arguments.rounds)


def compare_networks() -> None:
    """Logits and gradients of a batch, by their networks and by ours of the paper's shape."""
    from models import resnet  # type: ignore[import-not-found]

    x = torch.randn(4, 3, SIZE, SIZE, generator=stream(0, "images"))
    for depth, theirs in ((18, resnet.resnet18(num_classes=CLASSES)), (50, resnet.resnet50(num_classes=CLASSES))):
        model = tier_params("paper").model.model_copy(update={"depth": depth})
        ours = build(model, CLASSES, stream(0, "initialisation"))
        theirs.load_state_dict(ours.state_dict())

        logits = [{"logits": network(x)} for network in (ours, theirs)]
        for network, seen in zip((ours, theirs), logits, strict=True):
            seen["logits"].square().sum().backward()
            seen |= {name: parameter.grad for name, parameter in network.named_parameters()}
        print(f"ResNet-{depth} of width 64, {SIZE}x{SIZE}: logits and gradients differ by {difference(*logits):.0e}")


def compare_trainers(core: ModuleType, config: ModuleType) -> None:
    epochs, images = f"{GENERATIONS} x {EPOCHS} epochs", f"{BATCHES} batches of {BATCH_SIZE}"
    print(f"\nResNet-18 of width {WIDTH}, {epochs} of {images}, the first {ASCENT_EPOCHS} ascending, float64\n")
    print("| after epoch | " + " | ".join(f"{clock.generation}.{clock.epoch + 1}" for clock in EPOCHS_RUN) + " |")
    print("|---" * (GENERATIONS * EPOCHS + 1) + "|")

    for setting in SETTINGS:
        run = our_run(setting)
        data = doubled(random_data(run, BATCHES))
        network = Trainer(run, data, CPU).model
        theirs = train_theirs(core, their_config(config, run, setting), data, network, run.seed)
        apart = [difference(*both) for both in zip(train_ours(run, data), theirs, strict=True)]
        cells = " | ".join(f"{value:.0e}" if value else "0" for value in apart)
        print(f"| {setting.name} | {cells} |", flush=True)


def our_run(setting: Setting, width: int = WIDTH, **training: Any) -> Run:
    """The paper's arm by the authors' choices, at the paper's rate, of this benchmark's size."""
    run = tier_params("paper", "author_code").run(setting.arm, 0)
    short = {
        "epochs_per_generation": EPOCHS, "warmup_epochs": WARMUP_EPOCHS, "batch_size": BATCH_SIZE,
        "learning_rate": LEARNING_RATE, "channels_last": False,
    }  # fmt: skip
    options = {"ascent_epochs": ASCENT_EPOCHS, **setting.options} if setting.arm == "seal" else setting.options
    generations = {"num_generations": GENERATIONS, "kept_generations": [GENERATIONS], **setting.generations}
    return run.model_copy(update={
        "model": run.model.model_copy(update={"depth": 18, "width": width}),
        "training": run.training.model_copy(update=short | training),
        "generations": run.generations.model_copy(update=generations),
        "options": replace(run.options, **options),
    })  # fmt: skip


def their_config(config: ModuleType, run: Run, setting: Setting) -> Any:
    training = run.training
    scale = run.options.ascent_lr_scale if setting.arm == "seal" else 1.0
    arguments = {
        "num_cls": CLASSES, "arch": "ResNet18", "num_generations": run.generations.num_generations,
        "epochs": training.epochs_per_generation, "batch_size": training.batch_size, "val_interval": 1,
        "layer_threshold": run.generations.layer_threshold, "ascending_epochs": ASCENT_EPOCHS,
        "ascenders_lr_multiplier": -scale, "lr": training.learning_rate, "weight_decay": training.weight_decay,
        "momentum": training.momentum, "warmup_length": training.warmup_epochs,
        "label_smoothing": training.label_smoothing, "no_wandb": 1,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        named = [f"--{name}={value}" for name, value in arguments.items()]
        return config.Config().parse([*named, *setting.theirs, f"--exp_dir={folder}"])


def train_ours(run: Run, data: Data) -> Iterator[Weights]:
    """The network after each epoch."""
    trainer = Trainer(run, data, CPU)
    for clock in trainer.course.clocks():
        trainer.begin_epoch(clock)
        trainer.train_epoch(clock, lambda *batch: None)
        yield trainer.model.state_dict()


class DoubledBatches(Batches):
    def _float(self, images: Tensor) -> Tensor:
        return super()._float(images).double()


def doubled(data: Data) -> Data:
    data.train.__class__ = DoubledBatches
    return data


def difference(ours: Weights, theirs: Weights) -> float:
    """The largest over all tensors, each relative to its largest value."""
    assert ours.keys() == theirs.keys()
    apart = [
        ((theirs[name] - value).abs().max() / theirs[name].abs().max()).item()
        for name, value in ours.items()
        if value.is_floating_point()
    ]
    return max(apart)


def compare_rates(core: ModuleType, config: ModuleType, rounds: int) -> None:
    """An epoch of each in turns, of normal training as the paper trains: batches of 32, float32."""
    setting = SETTINGS[0]
    run = our_run(setting, 64, batch_size=32, warmup_epochs=0, epochs_per_generation=1)
    run = run.model_copy(update={"generations": run.generations.model_copy(update={"num_generations": 1})})
    data = random_data(run, 8)
    images, cfg = 8 * run.training.batch_size, their_config(config, run, setting)
    trainer = Trainer(run, data, CPU)
    trainer.begin_epoch(Clock(1, 0))

    ours, theirs = [], []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        train_theirs(core, cfg, data, None, run.seed)
        between = time.perf_counter()
        trainer.train_epoch(Clock(1, 0), lambda *batch: None)
        theirs.append(images / (between - began))
        ours.append(images / (time.perf_counter() - between))

    ratios = [mine / other for mine, other in zip(ours[1:], theirs[1:], strict=True)]  # the first round warms up
    print(f"\nImages a second in float32, batches of 32, medians of {rounds} rounds in turns:")
    print(f"theirs {statistics.median(theirs[1:]):.0f}, ours {statistics.median(ours[1:]):.0f}; ", end="")
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
