"""The smoke tier's wall time one stage after another and side by side, and what a job costs beside its stage.

    python benchmarks/cluster.py [--repeats 3] [--slurm FOLDER]    # FOLDER: a Slurm of .ci/slurm/start.sh

On an idle machine, in copies of the committed state. Ways: `dvc repro` with two threads and with one; `seal submit
--local 2` with one thread each; the same two jobs at once on Slurm on loopback. In turn, so that what the machine does
beside falls on all. Bits: a digest of dvc.lock, which one thread gives alike in each way.

Reach: `--local 2` 1.25 times faster than the faster of the serial ways; a job's own cost 4 s by make, 6 s by Slurm.
"""

import argparse
import csv
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from seal.processor import processor
from seal.record import file_sha256

ROOT = Path(__file__).parents[1]
PLACES = 2


@dataclass(frozen=True)
class Outcome:
    wall: float  # s, to the end of the report
    training: float  # s, the four trainings' own, added up
    job: float | None  # s of a job beside its stage, the median over jobs
    bits: str


def run(project: Path, *arguments: str, **variables: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(project), "DVC_NO_ANALYTICS": "1"} | variables
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as make does
    command = [sys.executable, "-m", *arguments]
    subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)


def serial(project: Path) -> None:
    run(project, "dvc", "repro")


def local(project: Path) -> None:
    run(project, "seal.cli", "submit", "--local", str(PLACES), "--wait")


def on_slurm(conf: Path) -> Callable[[Path], None]:
    """Two nodes, each with one job at once."""

    def submit(project: Path) -> None:
        options = ("--sbatch=--time=60", "--sbatch=--exclusive", "--group", "stage")
        run(project, "seal.cli", "submit", "--slurm", *options, SLURM_CONF=str(conf))
        while subprocess.check_output(["squeue", "--noheader"], env=os.environ | {"SLURM_CONF": str(conf)}):
            time.sleep(1)

    return submit


def measured(way: Callable[[Path], None], threads: int) -> Outcome:
    with TemporaryDirectory() as folder:
        project = Path(folder, "seal")
        subprocess.run(["git", "clone", "--quiet", ROOT, project], check=True)
        params = project / "params.yaml"
        params.write_text(re.sub(r"(?m)^  threads: \d+", f"  threads: {threads}", params.read_text(encoding="utf-8")))
        began = time.perf_counter()
        way(project)
        wall = time.perf_counter() - began
        return Outcome(wall, training_seconds(project), job_seconds(project), file_sha256(project / "dvc.lock")[:12])


def seconds_of(project: Path, stage: str) -> float:
    with (project / f"timings/{stage}.csv").open(encoding="utf-8", newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def training_seconds(project: Path) -> float:
    paths = [*project.glob("timings/base@*.csv"), *project.glob("timings/train*@*.csv")]
    return sum(seconds_of(project, path.stem) for path in paths)


def job_seconds(project: Path) -> float | None:
    """None where there were no jobs. A stage's own seconds begin after Python and its imports, which count here."""
    costs = []
    for path in project.glob("cluster/*/marks/*.json"):
        mark = json.loads(path.read_text(encoding="utf-8"))
        costs.append(mark["seconds"] - seconds_of(project, path.stem))
    return statistics.median(costs) if costs else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slurm", type=Path, metavar="FOLDER")
    chosen = parser.parse_args()

    ways: dict[str, tuple[Callable[[Path], None], int]] = {
        "serial, 2 threads": (serial, 2),
        "serial, 1 thread": (serial, 1),
        "--local 2, 1 thread each": (local, 1),
    }
    if chosen.slurm and shutil.which("sbatch"):
        ways["Slurm, 2 jobs of 1 thread"] = (on_slurm(chosen.slurm / "slurm.conf"), 1)
    print(f"{processor()}; load before: {os.getloadavg()[0]:.1f}")

    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    for _ in range(chosen.repeats):
        for name, (way, threads) in ways.items():
            outcomes[name].append(outcome := measured(way, threads))
            print(f"{name}: {outcome}", flush=True)

    print(f"\n{'':26} {'wall':>17} {'trainings':>10} {'a job':>7}  bits")
    for name, of_way in outcomes.items():
        walls = [outcome.wall for outcome in of_way]
        wall = f"{statistics.median(walls):.0f} ({min(walls):.0f} to {max(walls):.0f}) s"
        jobs = [outcome.job for outcome in of_way if outcome.job is not None]
        job = f"{statistics.median(jobs):.1f} s" if jobs else ""
        training = statistics.median(outcome.training for outcome in of_way)
        print(f"{name:26} {wall:>17} {training:8.0f} s {job:>7}  {' '.join({outcome.bits for outcome in of_way})}")


if __name__ == "__main__":
    main()
