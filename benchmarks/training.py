"""Images trained per second by precision and layout of memory, by threads and jobs at once, and by a plain loop.

    python -m benchmarks.training [--tiers mini paper] [--threads 2] [--rounds 5] [--seconds 8] [--plain] [--keep]

Of each tier's shape (network, image size, batch) the four settings that params may name, in turns over the rounds, so
that a noisy neighbour meets all: by one job of one thread, by one job of all threads, and by as many jobs of one thread
at once, whose rates are added. Prints medians over rounds, and ratios to the median of float32 in contiguous memory.
`--keep` puts the medians into benchmarks/training.csv, from which `seal plan` takes them.

`--plain` times what a user would write beside the same: an image folder of JPEG files read by PIL, torchvision's crop
and flip, a DataLoader with two workers, torch.optim.SGD, float32, contiguous memory.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.plain_loop import plain_loop, plain_rate
from seal.config import Params
from seal.planning.committed import COLUMNS, COMMITTED, Measured, read
from seal.planning.setting import WAYS, setting
from seal.planning.speed import trainer_in, training_rate
from seal.processor import processor, usable_cores
from seal.record import write_csv
from seal.tiers import tier_params

CPU = torch.device("cpu")
PLAIN = "plain loop, float32"


class Crew(NamedTuple):
    """Jobs at once, and the threads of each."""

    jobs: int
    threads: int

    def __str__(self) -> str:
        return f"{self.jobs} job{'s' * (self.jobs > 1)} of {self.threads} thread{'s' * (self.threads > 1)}"


class Job:
    """A process that trains when it is told to, with so many threads."""

    def __init__(self, tier: str, threads: int, plain: bool) -> None:
        command = [sys.executable, "-m", "benchmarks.training", "--job", tier, *(["--plain"] if plain else [])]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def begin(self, name: str, seconds: float) -> None:
        print(json.dumps([name, seconds]), file=self.process.stdin, flush=True)

    def rate(self) -> float:
        """Images per second of what was begun."""
        return float(self.process.stdout.readline())


def work(tier: str, plain: bool) -> None:
    """What a job does: reads what to train from stdin, trains it, and writes the rate."""
    params = tier_params(tier)
    trainers = {str(way): trainer_in(params, way, CPU) for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        epoch = plain_loop(Path(folder), params) if plain else None
        for line in sys.stdin:
            name, seconds = json.loads(line)
            if name == PLAIN:
                print(plain_rate(epoch, seconds, params.training.batch_size), flush=True)
            else:
                print(training_rate(trainers[name], seconds), flush=True)


@dataclass
class Rates:
    """Images per second over rounds, by what is trained and by which crew."""

    crews: Sequence[Crew]
    of: dict[str, dict[Crew, list[float]]]

    def median(self, name: str, crew: Crew) -> float:
        return statistics.median(self.of[name][crew])


def measured(tier: str, crews: Sequence[Crew], rounds: int, seconds: float, plain: bool) -> Rates:
    """One round is not kept: memory is taken and oneDNN's kernels are made in it."""
    names = [*map(str, WAYS), *([PLAIN] if plain else [])]
    rates = Rates(crews, {name: {crew: [] for crew in crews} for name in names})
    with ExitStack() as stack:
        jobs_of = {}
        for crew in crews:
            jobs_of[crew] = [stack.enter_context(Job(tier, crew.threads, plain)) for _ in range(crew.jobs)]

        for turn in range(rounds + 1):
            for name in names:
                for crew, jobs in jobs_of.items():
                    rate = rate_of_all(jobs, name, seconds if turn else 0.0)
                    if turn:
                        rates.of[name][crew].append(rate)
    return rates


def rate_of_all(jobs: Sequence[Job], name: str, seconds: float) -> float:
    for job in jobs:
        job.begin(name, seconds)
    return sum(job.rate() for job in jobs)


def table(params: Params, rates: Rates) -> Iterator[str]:
    model, side = params.model, params.datasets[params.source].image_size
    shape = f"ResNet-{model.depth}, width {model.width}, {model.stem} stem, {side}x{side}"
    yield f"### {params.tier}: {shape}, batch {params.training.batch_size}"
    yield ""
    yield f"| images/s | {' | '.join(map(str, rates.crews))} |"
    yield f"|---|{'---|' * len(rates.crews)}"
    first = str(WAYS[0])
    for name in rates.of:
        cells = [cell(rates, name, crew, rates.median(first, crew)) for crew in rates.crews]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def cell(rates: Rates, name: str, crew: Crew, reference: float) -> str:
    values = rates.of[name][crew]
    median = statistics.median(values)
    return f"{median:.0f} ({min(values):.0f} to {max(values):.0f}), {median / reference:.2f}"


def keep(params: Params, rates: Rates) -> None:
    """Put the medians into benchmarks/training.csv, in the place of earlier ones of the same."""
    image_size, today = params.datasets[params.source].image_size, datetime.now(UTC).date().isoformat()
    new = []
    for way in WAYS:
        training = params.training.model_copy(update=way._asdict())
        for crew in rates.crews:
            of_crew = setting(params.model, training, image_size, crew.threads)
            rate = rates.median(str(way), crew)
            new.append(Measured(of_crew, crew.jobs, rate, processor(), torch.__version__, today))

    replaced = {(rate.setting, rate.jobs, rate.cpu) for rate in new}
    others = [rate for rate in read() if (rate.setting, rate.jobs, rate.cpu) not in replaced]
    write_csv(COMMITTED, COLUMNS, [rate.row() for rate in [*others, *new]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiers", nargs="+", default=["mini", "paper"])
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each setting in each round")
    parser.add_argument("--plain", action="store_true", help="the plain loop too")
    parser.add_argument("--keep", action="store_true", help=f"put the medians into {COMMITTED}")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        work(arguments.job, arguments.plain)
        return

    threads = arguments.threads
    crews = [Crew(1, 1)] if threads == 1 else [Crew(1, 1), Crew(1, threads), Crew(threads, 1)]
    print(f"{processor()}, torch {torch.__version__}, medians of {arguments.rounds} rounds (least to most)\n")
    for tier in arguments.tiers:
        params = tier_params(tier)
        rates = measured(tier, crews, arguments.rounds, arguments.seconds, arguments.plain)
        print("\n".join(table(params, rates)), flush=True)
        if arguments.keep:
            keep(params, rates)


if __name__ == "__main__":
    main()
