"""On what and how a tier trains here: processor, threads, shape, precision, layout of memory.

Rates hold for equal settings alone. Precision, layout, threads and the processor also change a record's bits.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product, starmap
from typing import Any, NamedTuple

from seal.config import Params
from seal.planning.network import own_model
from seal.processor import usable_cores
from seal.sections import Model, Runtime, Training

SHAPE = ("depth", "width", "stem")  # of `model`, what a rate depends on
HOW = ("batch_size", "precision", "channels_last")  # of `training`, likewise
CPU_TF32 = "float32"  # what a CPU computes by where a tier says tf32


class Way(NamedTuple):
    """What a tier may choose of how it computes; each gives other bits."""

    precision: str
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision}, channels_last" if self.channels_last else self.precision


WAYS = tuple(starmap(Way, product(("float32", "bfloat16"), (False, True))))


@dataclass(frozen=True)
class Setting:
    """What a rate of training depends on; beside the four ways to train, the shape of network and images."""

    depth: int
    width: int
    stem: str
    image_size: int
    batch_size: int
    precision: str
    channels_last: bool
    threads: int

    @property
    def words(self) -> str:
        """Of what a tier sets beside the shape, e.g. `bfloat16, channels_last, 1 thread`."""
        way = Way(self.precision, self.channels_last)
        return f"{way}, {self.threads} thread{'' if self.threads == 1 else 's'}"

    @classmethod
    def of_row(cls, row: Mapping[str, str]) -> "Setting":
        """Of a row of benchmarks/training.csv."""
        numbers = {name: int(row[name]) for name in ("depth", "width", "image_size", "batch_size", "threads")}
        return cls(
            **numbers, stem=row["stem"], precision=row["precision"], channels_last=row["channels_last"] == "true"
        )


def setting_of(params: Params) -> Setting:
    image_size = params.datasets[params.source].image_size
    return setting(own_model(params.model), params.training, image_size, threads_of(params.runtime))


def setting(model: Model, training: Training, image_size: int, threads: int) -> Setting:
    shape: dict[str, Any] = model.model_dump(include={*SHAPE})
    how: dict[str, Any] = training.model_dump(include={*HOW})
    if how["precision"] == "tf32":
        how["precision"] = CPU_TF32
    return Setting(**shape, **how, image_size=image_size, threads=threads)


def threads_of(runtime: Runtime) -> int:
    """As many as a stage's torch takes: of OMP_NUM_THREADS the first, which may be followed by those of inner levels
    (4,2); what is no such number OpenMP leaves aside."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    chosen = int(outermost) if outermost.isdecimal() else 0
    return runtime.threads or chosen or usable_cores()
