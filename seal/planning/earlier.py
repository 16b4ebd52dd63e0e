"""What earlier runs took here: timings of this processor, of stages whose record has the active parameters."""

import statistics
from collections import defaultdict
from pathlib import Path

from seal.config import Params
from seal.evaluations import EVALUATIONS
from seal.evidence import BrokenEvidence
from seal.planning.setting import HOW, SHAPE, threads_of
from seal.processor import processor
from seal.record import RESULTS, TIMINGS
from seal.runs import RunFolder
from seal.sections import TRAINING
from seal.stage_names import StageParts, parts
from seal.timings import read_timings

TimingRow = dict[str, str]


class Earlier:
    """Rates of trainings, and seconds of every other stage; the plan takes them before any price."""

    def __init__(self, params: Params, timings: Path = TIMINGS, results: Path = RESULTS) -> None:
        self.rates: list[float] = []  # of training, images per second
        self._seconds: dict[tuple[str, str | None], list[float]] = defaultdict(list)

        for path in sorted(timings.glob("*.csv")):
            stage = parts(path.stem)
            rows = rows_of_this_machine(path, None if stage.run is None else threads_of(params.runtime))
            if rows and stage.name != "pack" and has_active_parameters(stage, params, results):
                self._add(stage, rows)

    def seconds(self, name: str, dataset: str | None) -> float | None:
        """The median over runs; None where there were none."""
        seconds_of_runs = self._seconds.get((name, dataset))
        return statistics.median(seconds_of_runs) if seconds_of_runs else None

    @property
    def rate(self) -> float | None:
        """Images trained per second, the median over trainings; None where there were none."""
        return statistics.median(self.rates) if self.rates else None

    def _add(self, stage: StageParts, rows: list[TimingRow]) -> None:
        """The last row is of what lies there now; those before it may be of another tier."""
        if stage.name not in TRAINING:
            self._seconds[stage.name, stage.dataset].append(float(rows[-1]["seconds"]))
            return

        rates = [rate for row in rows if (rate := float(row["rate"] or 0)) > 0]
        self.rates += rates[-1:]


def has_active_parameters(stage: StageParts, params: Params, results: Path = RESULTS) -> bool:
    """Whether what a stage has left is of these images, network, way to train, and protocol: what times depend on. A
    record that is gone or damaged is not."""
    if stage.run is None:
        return True

    folder = results / stage.run
    if not (folder / "summary.json").exists():
        return False
    try:
        run = RunFolder.read(folder)
        return _is_like(run, params) and _was_done_alike(stage, run, params)
    except BrokenEvidence:
        return False


def _is_like(run: RunFolder, params: Params) -> bool:
    """Of the same tier, on the same images by the same shape of network."""
    dataset, shape = params.datasets[params.source], params.model.model_dump(include={*SHAPE})
    selection = (run.summary.get("provenance") or {}).get("selection") or {}
    image_size = selection.get("image_size", dataset.image_size)
    expected = {"tier": params.tier, "data": params.source}.items()
    same_images = expected <= run.summary.items() and image_size == dataset.image_size
    return same_images and shape.items() <= run.summary.get("model", {}).items()


def _was_done_alike(stage: StageParts, run: RunFolder, params: Params) -> bool:
    if stage.name in TRAINING:
        how = params.training.model_dump(include={*HOW})
        return bool(how.items() <= run.summary.get("training", {}).items())
    if stage.name not in EVALUATIONS:  # of another version
        return False

    protocol = getattr(params, stage.name).model_dump(mode="json")
    files = run.evaluations(stage.folder)
    return bool(files) and all(protocol.items() <= file.params.items() for file in files.values())


def rows_of_this_machine(path: Path, threads: int | None) -> list[TimingRow]:
    """Timings of this processor with as many threads; None where their number does not matter."""
    rows = []
    for row in read_timings(path):
        if row["cpu"] == processor() and (threads is None or row["threads"] == str(threads)):
            rows.append(row)
    return rows
