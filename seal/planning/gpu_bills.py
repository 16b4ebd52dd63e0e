"""What stages take on GPUs, added up as a person asks: by kind, by arm, by evaluation, by seed, for Table 2."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from seal.config import Params
from seal.measure import Rates, Work
from seal.planning.counts import images_of
from seal.planning.gpu import GPUS, RESERVED_BYTES, START, Gpu, memory_bytes, passes_of, rates_on
from seal.planning.measured_gpu import MeasuredGpu
from seal.planning.network import Network
from seal.sections import BASE_ARM, TRAINING
from seal.stage_names import parts, stage_of

# What the paper's Table 2 is of: SEAL, LLF and both ways to train on, beside generation 1, which the base stage trains.
TABLE_2_ARMS = ("normal_long", "normal_long_cosine", "llf", "seal")
TABLE_2_SEEDS = 3


@dataclass(frozen=True)
class Bill:
    """What some stages take together, one after the other on one GPU."""

    words: str
    count: int
    hours: tuple[float, ...]  # on each GPU
    memory: float  # bytes of the GPU, for the stage that needs most; 0 where none uses it
    disk: float  # bytes


class Prices:
    """Of a tier's stages on each GPU: from counts, and on those that were measured from what they did."""

    def __init__(
        self, costs: Mapping[str, Work], params: Params, network: Network, gpus: Sequence[Gpu] = GPUS,
        measured: Sequence[MeasuredGpu] = (),
    ) -> None:  # fmt: skip
        self.costs, self.params = costs, params
        self.passes = passes_of(network, params)
        self.rates: dict[str, Rates] = {}
        for gpu in gpus:
            self.rates[gpu.name] = rates_on(gpu, self.passes)
        for card in measured:
            self.rates[f"{card.name}, measured"] = card.rates(params.training.precision)

        dataset, images = params.datasets[params.source], images_of(params.source, params)
        images_bytes = 3.0 * images.total * dataset.image_size**2
        self.training_memory = memory_bytes(network, params.training.batch_size, images_bytes)

    def bill(self, words: str, stages: Sequence[str]) -> Bill:
        costs = [self.costs[stage] for stage in stages]
        hours = []
        for rates in self.rates.values():
            seconds = sum(START + cost.time(rates) for cost in costs)
            hours.append(seconds / 3600)

        memory = max(map(self._memory, stages), default=0.0)
        disk = sum(cost.bytes for cost in costs)
        return Bill(words, len(stages), tuple(hours), memory, disk)

    def _memory(self, stage: str) -> float:
        name, run, _ = parts(stage)
        if name in TRAINING:
            return self.training_memory
        return 0.0 if run is None else RESERVED_BYTES + self.costs[stage].memory

    def by_kind(self) -> Iterator[Bill]:
        """Each kind of stage, then all together."""
        for name, stages in _by_name(self.costs).items():
            yield self.bill(name, stages)
        yield self.bill("all", [*self.costs])

    def of_a_seed(self, seed: int) -> Iterator[Bill]:
        """Each arm's training, the evaluations of one arm by kind, then the seed's main arms and all of it."""
        stages_of = self._stages_by_run(seed)
        for run, stages in stages_of.items():
            training = [stage for stage in stages if parts(stage).name in TRAINING]
            yield self.bill(run, training)

        for arm in self.params.evaluated_arms[-1:]:
            for name, stages in _by_name(stages_of[f"{arm}-{seed}"]).items():
                if name not in TRAINING:
                    yield self.bill(f"{name} of {arm}-{seed}", stages)

        compared_arms = {*self.params.main_arms, *self.params.evaluated_arms}
        of_compared = []
        for run, stages in stages_of.items():
            if run.removesuffix(f"-{seed}") in compared_arms:
                of_compared += stages
        yield self.bill(f"seed {seed}, main arms and evaluations", of_compared)
        yield self.bill(f"seed {seed}, all", [*chain.from_iterable(stages_of.values())])

    def _stages_by_run(self, seed: int) -> dict[str, list[str]]:
        stages_of = defaultdict(list)
        for stage in self.costs:
            run = parts(stage).run
            if run is not None and run.endswith(f"-{seed}"):
                stages_of[run].append(stage)
        return stages_of

    def of_table_2(self) -> Iterator[Bill]:
        """The smallest set of stages that answers Table 2: the images, generation 1, and the arms that it compares."""
        source = self.params.source
        wanted = {f"fetch@{source}", f"pack@{source}"}
        seeds = self.params.seeds[:TABLE_2_SEEDS]
        for seed in seeds:
            wanted |= {stage_of(f"{arm}-{seed}") for arm in (BASE_ARM, *TABLE_2_ARMS)}

        stages = [stage for stage in self.costs if stage in wanted]
        if seeds:
            yield self.bill(f"Table 2 by {len(seeds)} seed{'' if len(seeds) == 1 else 's'}", stages)


def _by_name(stages: Iterable[str]) -> dict[str, list[str]]:
    stages_of = defaultdict(list)
    for stage in stages:
        stages_of[parts(stage).name].append(stage)
    return stages_of
