"""How long a run's stages will take on this machine, and how much disk: by earlier runs, or else by their prices."""

from collections.abc import Mapping
from dataclasses import dataclass

from seal.config import Params
from seal.measure import Work
from seal.planning.committed import COMMITTED, committed_rate, read
from seal.planning.earlier import Earlier
from seal.planning.machine import Machine
from seal.planning.setting import setting_of
from seal.sections import TRAINING
from seal.stage_names import parts

DVC_SECONDS = 0.6  # DVC's own, of a stage: hashing, links, the lock; measured at smoke


@dataclass(frozen=True)
class Line:
    """Stages of one name, or of several together."""

    name: str
    count: int
    seconds: float
    bytes: float
    basis: str  # earlier runs, the cost model, or both

    def __add__(self, other: "Line") -> "Line":
        return Line(
            self.name,
            self.count + other.count,
            self.seconds + other.seconds,
            self.bytes + other.bytes,
            self.basis if self.basis == other.basis else "both",
        )


def plan(costs: Mapping[str, Work], machine: Machine, earlier: Earlier) -> list[Line]:
    """A line for each name among the stages, in the order in which they are met."""
    lines: dict[str, Line] = {}
    for stage, cost in costs.items():
        line = line_of_stage(stage, cost, machine, earlier)
        lines[line.name] = lines[line.name] + line if line.name in lines else line
    return list(lines.values())


def with_known_rate(machine: Machine, params: Params, earlier: Earlier) -> Machine:
    """Training at the rate of earlier runs here, or at one that was committed for this processor and setting."""
    if earlier.rate is not None:
        return machine.training_at(earlier.rate, "earlier runs")

    setting = setting_of(params)
    if machine.device == "cpu" and (committed := committed_rate(setting, read())):
        where = f"{COMMITTED}, of this processor on {committed.date}: {setting.words}"
        return machine.training_at(committed.images_per_second, where)
    return machine


def line_of_stage(stage: str, cost: Work, machine: Machine, earlier: Earlier) -> Line:
    name, _, dataset = parts(stage)
    known_seconds = earlier.seconds(name, dataset)
    seconds = cost.time(machine.rates) if known_seconds is None else known_seconds
    by_earlier_runs = known_seconds is not None or (name in TRAINING and earlier.rate is not None)

    basis = "earlier runs" if by_earlier_runs else "cost model"
    return Line(name, 1, seconds + machine.start_seconds + DVC_SECONDS, cost.bytes, basis)
