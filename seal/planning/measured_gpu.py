"""Cards on which the acceptance has run, and how fast they were: its JSON in expected/gpu/, or one that is named.

The plan of the paper tier prices stages by them beside the counted ones, and a scale-out on one machine shares a card
by them.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal.config import Params
from seal.errors import UserError, short
from seal.measure import Rates
from seal.planning.gpu import SAVED_PER_SECOND
from seal.planning.network import own_model
from seal.record import EXPECTED

FOLDER = EXPECTED / "gpu"
# Of one second's work, by the section that measures it at the paper's shape.
MEASURED = {
    "measured": "training", "seen": "fewshot", "tuned": "fewshot", "curved": "hessian", "searched": "knn",
    "launched": "environment",
}  # fmt: skip
SETTING = "resnet50_width64_"  # and a precision: a key of the section training
SHAPE = {"depth": 50, "width": 64, "image_size": 64, "batch_size": 32}


@dataclass(frozen=True)
class MeasuredGpu:
    """One card, by one run of the acceptance."""

    name: str
    date: str
    sections: Mapping[str, Any]

    @property
    def runs_at_once(self) -> int:
        """How many trainings on one card do most together; 1 where it was not measured."""
        return int(self.sections.get("several_runs", {}).get("runs_per_gpu", 1))

    def rates(self, precision: str) -> Rates:
        """Training in that precision by the captured step, without losing determinism; all else as it was measured.

        Raises UserError where that precision was not timed.
        """
        setting = f"{SETTING}{precision}"
        if setting not in self.sections["training"]:
            problem = f"acceptance of {self.name}, {self.date}: found no training in {precision}"
            raise UserError(f"{problem}, expected one; run `seal accept` there again")

        ms_a_step = self.sections["training"][setting]["graph_ms_a_step"]
        trained = SHAPE["batch_size"] * 1e3 / ms_a_step

        known = {}
        for kind, section in MEASURED.items():
            known[kind] = float(self.sections[section]["rates"][kind])
        return Rates(trained=trained, saved=SAVED_PER_SECOND, small=math.inf, compilers=math.inf, **known)


def measured_gpus(named: Path | None = None) -> list[MeasuredGpu]:
    """The one that is named, else all that are committed. Raises UserError for a file that has no rates."""
    paths = [named] if named else sorted(FOLDER.glob("*.json"))
    return list(map(read, paths))


def read(path: Path) -> MeasuredGpu:
    """Raises UserError where the file is no JSON of the acceptance, or not of all its sections on a GPU."""
    try:
        accepted = json.loads(path.read_text(encoding="utf-8"))
        sections, tiny, date = dict(accepted["sections"]), accepted["tiny"], accepted["date"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: found no JSON of the acceptance ({error}); `seal accept --out {path}` writes it"
        ) from None

    whole = {name for name, section in sections.items() if isinstance(section, Mapping) and "rates" in section}
    lacking = sorted({"training", *MEASURED.values()} - whole)
    if tiny or lacking:
        words = "a try on a CPU" if tiny else f"no rates of {', '.join(lacking)}"
        raise UserError(f"{path}: found {words}, expected all sections on a GPU; run `seal accept --out {path}` there")

    for place, number in _numbers(sections):
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            problem = f"{place}: found {short(repr(number))}, expected a number above 0"
            raise UserError(f"{path}: {problem}; run `seal accept --out {path}` there again")
    return MeasuredGpu(str(sections["environment"].get("gpu", "unnamed GPU")), str(date), sections)


def _numbers(sections: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All by which a plan counts, each with its place in the file; None where it is not there."""
    for kind, section in MEASURED.items():
        yield f"{section}.rates.{kind}", _at(sections[section]["rates"], kind)
    for setting, times in sections["training"].items():
        if setting.startswith(SETTING):
            yield f"training.{setting}.graph_ms_a_step", _at(times, "graph_ms_a_step")
    several = sections.get("several_runs", {})
    if not isinstance(several, Mapping) or "runs_per_gpu" in several:  # not so where it failed, or had no time left
        yield "several_runs.runs_per_gpu", _at(several, "runs_per_gpu")


def _at(values: Any, key: str) -> Any:
    return values.get(key) if isinstance(values, Mapping) else None


def of_paper_shape(params: Params) -> bool:
    """Whether the rates are of this tier's network, images and batches."""
    model = own_model(params.model)
    shape = {
        "depth": model.depth, "width": model.width, "batch_size": params.training.batch_size,
        "image_size": params.datasets[params.source].image_size,
    }  # fmt: skip
    return shape == SHAPE


def runs_at_once(cards: Sequence[str]) -> int:
    """Trainings to put on each of these cards, by name, at once: as measured on one of that name, else 1."""
    known = {gpu.name: gpu.runs_at_once for gpu in measured_gpus()}
    return min((known.get(card, 1) for card in cards), default=1)
