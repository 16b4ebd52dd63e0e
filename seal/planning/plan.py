"""`seal plan`: which stages a run will take, and about how long and how much disk, before it begins."""

import csv
import os
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seal.config import Params
from seal.planning.calibration import Machine
from seal.planning.costs import TRAINING, Work, parts, work
from seal.record import RESULTS, TIMINGS, cpu_name, read_json
from seal.study.dvc_repo import dvc_errors
from seal.tiers import tier_text

DVC_SECONDS = 0.6  # DVC's own, of a stage: hashing, links, the lock; measured at smoke
REACH_DAYS = 14  # a run that would take longer on this machine is called out of reach
# Assumptions, not measurements: nothing here has run on a GPU. ResNet-50 on 64x64 images in batches of 32 is bound by
# kernel launches more than by arithmetic, so a larger GPU gains little.
ASSUMED_GPU = "one data-centre GPU"
ASSUMED_GPU_IMAGES_PER_SECOND = 1000.0  # trained
ASSUMED_GPU_GFLOPS = 10_000.0  # float32


@dataclass(frozen=True)
class Line:
    """Stages of one name."""

    name: str
    count: int
    seconds: float
    bytes: float
    basis: str  # earlier runs, the cost model, or both


def stages_to_run() -> list[str]:
    """What `dvc repro` would run here, in no order: what has changed, and whatever stands below it.

    `dvc repro --dry` cannot say: it stops at the first stage whose input another has yet to write.
    """
    import networkx
    from dvc.repo import Repo

    with dvc_errors(), Repo() as repo:
        changed = repo.status()
        graph = repo.index.graph
        first = [stage for stage in graph if stage.addressing in changed]
        below = {other for stage in first for other in networkx.ancestors(graph, stage)}
        return sorted({stage.addressing for stage in [*first, *below]})


def stages_of_tier(tier: str, pipeline: Path = Path("dvc.yaml")) -> list[str]:
    """Every stage that a tier's parameters ask for, as DVC expands them; nothing is changed here."""
    from dvc.repo import Repo

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / ".dvc").mkdir()
        (place / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
        shutil.copy(pipeline, place / "dvc.yaml")
        (place / "params.yaml").write_text(tier_text(tier), encoding="utf-8")
        with dvc_errors(), Repo(str(place)) as repo:
            return sorted(stage.name for stage in repo.index.stages)  # an addressing would name the folder


class Earlier:
    """What earlier runs took on this processor, of stages whose record has the active parameters."""

    def __init__(self, params: Params, timings: Path = TIMINGS, results: Path = RESULTS) -> None:
        self.params, self.results = params, results
        cpu = f"{os.cpu_count()} x {cpu_name()}"
        self.rates: list[float] = []  # of training, images per second
        self._seconds: dict[tuple[str, str | None], list[float]] = {}
        for path in sorted(timings.glob("*.csv")):
            name, run, target = parts(path.stem)
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if row["cpu"] == cpu]
            if not rows or name == "pack" or not self._same(name, run, target):
                continue
            if name in TRAINING:
                self.rates += [float(row["rate"]) for row in rows if row["rate"] and float(row["rate"]) > 0]
            else:
                self._seconds.setdefault((name, target), []).append(max(float(row["seconds"]) for row in rows))

    def seconds(self, name: str, target: str | None) -> float | None:
        """The median over runs; None where there were none."""
        found = self._seconds.get((name, target))
        return statistics.median(found) if found else None

    def _same(self, name: str, run: str | None, target: str | None) -> bool:
        if run is None:
            return True
        summary = self.results / run / "summary.json"
        if not summary.exists():
            return False
        facts, params = read_json(summary), self.params
        known = (facts.get("tier"), facts.get("model"))
        if known != (params.tier, params.model.model_dump(mode="json")):
            return False
        if name in TRAINING:
            return True
        wanted: dict[str, Any] = getattr(params, name).model_dump(mode="json")
        records = [*(self.results / run / "eval" / (f"{name}-{target}" if target else name)).glob("gen-*.json")]
        return bool(records) and all(
            read_json(path)["params"].get(key) == value for path in records for key, value in wanted.items()
        )


def plan(stages: Iterable[str], cost: Callable[[str], Work], machine: Machine, earlier: Earlier) -> list[Line]:
    """A line for each stage's name, in the pipeline's order as far as names tell."""
    if earlier.rates:
        machine = replace(machine, images_per_second=statistics.median(earlier.rates))
    lines: dict[str, Line] = {}
    for stage in stages:
        name, _, target = parts(stage)
        one, known = cost(stage), earlier.seconds(name, target)
        basis = "earlier runs" if known is not None or (name in TRAINING and earlier.rates) else "cost model"
        seconds = one.time(machine.images_per_second, machine.gflops) if known is None else known
        line = lines.get(name, Line(name, 0, 0.0, 0.0, basis))
        lines[name] = Line(
            name, line.count + 1, line.seconds + seconds + machine.start_seconds + DVC_SECONDS,
            line.bytes + one.bytes, basis if line.basis == basis else "both",
        )  # fmt: skip
    return list(lines.values())


def gpu_hours(works: Sequence[Work]) -> float:
    """By the assumptions at the top of this file."""
    return sum(one.time(ASSUMED_GPU_IMAGES_PER_SECOND, ASSUMED_GPU_GFLOPS) for one in works) / 3600


def show(stages: Sequence[str], params: Params, machine: Machine, console: Console, free: float) -> None:
    """The table and what to make of it. `free`: bytes of disk."""
    if not stages:
        console.print("nothing to run: data and pipelines are up to date")
        return
    order = ["fetch", "pack", *TRAINING, "transfer", "fewshot", "fewshot_affines", "prediction_depth", "hessian"]
    ranked = sorted(stages, key=lambda stage: order.index(name) if (name := parts(stage)[0]) in order else len(order))
    works = {stage: work(stage, params, machine.network) for stage in ranked}
    earlier = Earlier(params)
    lines = plan(ranked, works.__getitem__, machine, earlier)
    total, size = sum(line.seconds for line in lines), sum(line.bytes for line in lines)
    table = Table(box=None, pad_edge=False, header_style="bold", show_footer=True, footer_style="bold")
    table.add_column("stage", "total")
    for header, footer in (("count", f"{len(stages)}"), ("time", duration(total)), ("disk", volume(size))):
        table.add_column(header, footer, justify="right")
    table.add_column("from", "")
    for line in lines:
        table.add_row(line.name, str(line.count), duration(line.seconds), volume(line.bytes), line.basis)
    console.print(table)
    rate = f"{statistics.median(earlier.rates):,.0f} images/s in earlier runs" if earlier.rates else (
        f"{machine.images_per_second:,.0f} images/s in a short calibration"
    )  # fmt: skip
    words = [
        f"tier {params.tier}, one stage at a time. Training here: {rate}. "
        "It may be off by two times, and more where other work on the machine comes or goes.",
        "What DVC's run cache still holds is restored in seconds instead. Where the file system cannot link, the cache "
        "takes as much disk again.",
    ]
    if params.tier == "paper":
        words.append(
            f"On {ASSUMED_GPU}: {gpu_hours(list(works.values())):,.0f} GPU-hours. Assumed, not measured: "
            f"{ASSUMED_GPU_IMAGES_PER_SECOND:,.0f} images/s trained, {ASSUMED_GPU_GFLOPS:,.0f} GFLOP/s of float32, "
            "and evaluations' small steps as on a CPU."
        )
    if total > REACH_DAYS * 86400:
        words.append(f"OUT OF REACH here: {duration(total)} is more than {REACH_DAYS} days.")
    if size > free:
        words.append(f"OUT OF REACH here: needs {volume(size)} of disk, found {volume(free)} free.")
    for line_of_words in words:
        console.print(line_of_words, highlight=False)


def duration(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.0f} s"


def volume(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:,.1f} MB"
