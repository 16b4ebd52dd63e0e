"""Rates of training that are committed with the project: benchmarks/training.csv, which benchmarks/training.py writes.

A tier that has not run here is priced by them, where one is of this processor and of the tier's setting.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from operator import attrgetter
from pathlib import Path

from seal.errors import UserError
from seal.planning.setting import Setting
from seal.processor import processor
from seal.record import read_table

COMMITTED = Path("benchmarks/training.csv")
REMEDY = "`git restore` brings it back, and benchmarks/training.py writes it anew"
COLUMNS = (*(field.name for field in fields(Setting)), "jobs", "images_per_second", "cpu", "torch", "date")


@dataclass(frozen=True)
class Measured:
    """Images trained per second in a setting, by so many jobs at once, all of them together."""

    setting: Setting
    jobs: int
    images_per_second: float
    cpu: str
    torch: str
    date: str

    def row(self) -> dict[str, object]:
        values = [*astuple(self.setting), self.jobs, f"{self.images_per_second:.0f}", self.cpu, self.torch, self.date]
        row = dict(zip(COLUMNS, values, strict=True))
        return row | {"channels_last": str(self.setting.channels_last).lower()}

    @classmethod
    def of_row(cls, row: Mapping[str, str]) -> "Measured":
        setting, rate = Setting.of_row(row), float(row["images_per_second"])
        return cls(setting, int(row["jobs"]), rate, row["cpu"], row["torch"], row["date"])


def read(path: Path = COMMITTED) -> list[Measured]:
    """Nothing where the file is not there, as beside an installed package. Raises UserError for what is no such
    table."""
    if not path.exists():
        return []

    measured = []
    for number, row in enumerate(read_table(path, COLUMNS, REMEDY), start=1):
        try:
            measured.append(Measured.of_row(row))
        except ValueError as error:
            raise UserError(f"{path}: row {number}: {error}; {REMEDY}") from None
    return measured


def committed_rate(wanted: Setting, measured: Sequence[Measured]) -> Measured | None:
    """The newest of this processor and of one job; None where there is none."""
    wanted_here = (wanted, 1, processor())
    rates = [rate for rate in measured if (rate.setting, rate.jobs, rate.cpu) == wanted_here]
    return max(rates, key=attrgetter("date"), default=None)
