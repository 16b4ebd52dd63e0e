"""Images trained per second, timed on invented images: as a tier trains, and in each of the four settings.

The calibration, the doctor (`python -m seal.planning.speed`, one JSON object) and benchmarks/training.py measure by it.
"""

import json
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor

from seal.clock import Clock
from seal.config import Params, load_params
from seal.data.batches import Batches
from seal.device import torch_device
from seal.errors import ConfigError
from seal.planning.counts import classes
from seal.planning.setting import WAYS, Way
from seal.sections import BASE_ARM
from seal.trainer import Data, Trainer

BATCHES = 4  # in a pass; the first of each is not timed, as in a training's own rate
DOCTORS_SECONDS = 2.0  # of all four settings together


def trainer_in(params: Params, way: Way, device: torch.device) -> Trainer:
    training = params.training.model_copy(update=way._asdict())
    changed = params.model_copy(update={"training": training})
    batches = random_batches(changed, device)
    data = Data(batches, batches.plain(), batches, batches, classes(params.datasets[params.source]))
    return Trainer(changed.run(BASE_ARM, 0), data, device, params.runtime.optimizer_backend)


def random_batches(params: Params, device: torch.device) -> Batches:
    training, dataset = params.training, params.datasets[params.source]
    side, count = dataset.image_size, training.batch_size * BATCHES
    generator = torch.Generator().manual_seed(0)
    return Batches(
        torch.randint(256, (count, side, side, 3), dtype=torch.uint8, generator=generator),
        torch.arange(count) % classes(dataset),
        batch_size=training.batch_size, mean=training.mean, std=training.std, flip=training.flip,
        crop_padding=training.crop_padding, device=device, channels_last=training.channels_last,
    )  # fmt: skip


def training_rate(trainer: Trainer, at_least_seconds: float) -> float:
    """Images per second over all steps but each pass's first: by the mean, as what stops some of them counts too."""
    clock = Clock(1, 0)
    seconds: list[float] = []
    ended = 0.0

    def on_batch(clock: Clock, size: int, loss: Tensor, correct: Tensor) -> None:
        nonlocal ended
        loss.item()  # waits for the device
        if ended:
            seconds.append(time.perf_counter() - ended)
        ended = time.perf_counter()

    trainer.begin_epoch(clock)
    while not seconds or sum(seconds) < at_least_seconds:
        ended = 0.0
        trainer.train_epoch(clock, on_batch)
    return trainer.run.training.batch_size / statistics.fmean(seconds)


def rates_in_turns(trainers: Mapping[Way, Trainer], seconds: float, rounds: int) -> dict[Way, list[float]]:
    """Of each way a rate a round, all together in about `seconds`: a noisy neighbour meets every way.

    A way in which these images cannot be trained has the rate 0.
    """
    rates: dict[Way, list[float]] = {way: [] for way in trainers}
    for _ in range(rounds):
        for way, trainer in trainers.items():
            rate = 0.0
            with suppress(ConfigError):
                rate = training_rate(trainer, seconds / rounds / len(trainers))
            rates[way].append(rate)
    return rates


def main() -> None:
    """The four ways' rates for the active parameters, in the order of WAYS."""
    params = load_params()
    device = torch_device(params.runtime)
    trainers = {way: trainer_in(params, way, device) for way in WAYS}
    rates = rates_in_turns(trainers, DOCTORS_SECONDS, rounds=2)
    medians = [statistics.median(rates[way]) for way in WAYS]
    print(json.dumps({"rates": medians, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
