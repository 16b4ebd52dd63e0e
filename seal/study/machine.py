"""Whether results here can be the committed ones bit for bit: `python -m seal.study.machine`, the end of `make repro`.

Another kind of processor, or another number of threads, sums in another order: 27 of smoke's 31 stages then differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seal.config import load_params
from seal.errors import one_line_errors
from seal.record import EXPECTED, TIMINGS
from seal.sections import TRAINING
from seal.stage_names import parts
from seal.timings import read_timings


@dataclass(frozen=True)
class Machine:
    """What decides a training's bits beside code, parameters and data."""

    processor: str
    threads: str

    @classmethod
    def of(cls, timing: Mapping[str, str]) -> "Machine":
        """By a row of timings."""
        return cls(timing["cpu"].partition(" x ")[2], timing["threads"])

    def __str__(self) -> str:
        return f"{self.processor} with {self.threads} thread{'' if self.threads == '1' else 's'}"


def machines(timings: Path, runs: set[str]) -> dict[str, Machine]:
    """Run -> on which it was last trained, of those whose timings are there."""
    trained_on = {}
    for path in timings.glob("*@*.csv"):
        stage = parts(path.stem)
        if stage.name in TRAINING and stage.run in runs:
            for last in read_timings(path)[-1:]:
                trained_on[stage.run] = Machine.of(last)
    return trained_on


def difference(tier: str, runs: list[str]) -> str | None:
    """A sentence where a run here was made on another kind of machine than the committed one of its tier."""
    committed = EXPECTED / tier
    ours, theirs = machines(TIMINGS, {*runs}), machines(committed / "timings", {*runs})
    other = [run for run in runs if run in ours and run in theirs and ours[run] != theirs[run]]
    if not other:
        return None

    more = f", and {len(other) - 1} more" if len(other) > 1 else ""
    return (
        f"{other[0]} was trained on {ours[other[0]]}, in {committed} on {theirs[other[0]]}{more}: bits differ "
        f"between them, in dvc.lock too; `seal compare {committed}` says whether values agree"
    )


def main() -> None:
    with one_line_errors():
        params = load_params()
    if words := difference(params.tier, params.run_names()):
        print(words)


if __name__ == "__main__":
    main()
