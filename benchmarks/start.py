"""Where the time goes before and beside the work: the commands' starts, and `make repro` from nothing and again.

    python benchmarks/start.py [--repro] [--set-up] [--repeats 5]

`--repro` clones the last commit and runs its pipeline twice, in this environment; `--set-up` in one of the clone's own.
Wall time is what a person waits; processor time says more where other work runs beside it.
"""

import argparse
import csv
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Modules with their arguments; the last is what each stage of a network imports.
COMMANDS = ("seal --help", "seal claims --record expected/mini", "seal plan --tier smoke", "seal.train --help")
READY = ".venv/bin/.ready"
# Functions of DVC's between which `dvc repro` with nothing to do divides its time, by file and name.
PARTS_OF_DVC = {
    "params.yaml, once a stage": ("dvc/dependency/param.py", "read_params"),
    "dvc.yaml and dvc.lock, parsed": ("dvc/utils/strictyaml.py", "load"),
    "locks, for each file of a stage": ("dvc/rwlock.py", "_edit_rwlock"),
    "whether files are as they were": ("dvc/output.py", "_get_hash_meta"),
    "imports": ("<frozen importlib._bootstrap>", "_find_and_load"),
}
PROFILE = """if True:
    import contextlib, cProfile, io, pstats, sys
    profile = cProfile.Profile()
    profile.enable()
    from dvc.cli import main
    with contextlib.redirect_stdout(io.StringIO()):
        main(["repro"])
    profile.disable()
    stats = pstats.Stats(profile)
    print("all", stats.total_tt)
    for (file, _, function), (_, _, _, seconds, _) in stats.stats.items():
        print(f"{file}:{function}", seconds)
"""


@dataclass(frozen=True)
class Seconds:
    wall: float
    processor: float  # of all its processes

    def __str__(self) -> str:
        return f"{self.wall:7.2f} {self.processor:7.2f}"


def timed(command: list[str], folder: Path) -> Seconds:
    """A command that ends well, and says nothing here."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stdout)
    return Seconds(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def median(command: list[str], folder: Path, repeats: int) -> Seconds:
    """After a first run, which is not counted: it writes bytecode."""
    timed(command, folder)
    runs = [timed(command, folder) for _ in range(repeats)]
    return Seconds(statistics.median(run.wall for run in runs), statistics.median(run.processor for run in runs))


def show_commands(repeats: int) -> None:
    print(f"{'':40} {'wall':>7} {'cpu':>7} s, medians of {repeats}")
    print(f"{'python, nothing imported':40} {median([sys.executable, '-c', ''], ROOT, repeats)}")
    for command in COMMANDS:
        module, *arguments = command.split()
        print(f"{command:40} {median([sys.executable, '-m', module, *arguments], ROOT, repeats)}")


def lines_of(command: list[str], folder: Path) -> Iterator[tuple[float, str]]:
    """When, in seconds from the start, the command wrote which line; ends with an empty one at its end."""
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            yield time.perf_counter() - began, line
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}")
    yield time.perf_counter() - began, ""


def show_first(folder: Path) -> None:
    """By kind of stage: how often, how long, and how much of it the stage itself counts; the rest is start and DVC."""
    starts: list[tuple[float, str]] = [(0.0, "before the first stage")]
    ended = 0.0
    for ended, line in lines_of(["make", "-o", READY, "repro"], folder):
        if stage := re.match(r"Running stage '(.+)'", line):
            starts.append((ended, stage[1]))

    whole: dict[str, list[float]] = defaultdict(list)
    own: dict[str, float] = defaultdict(float)
    for (began, stage), (following, _) in zip(starts, [*starts[1:], (ended, "")], strict=True):
        kind = stage.partition("@")[0]
        whole[kind].append(following - began)
        timings = folder / f"timings/{stage}.csv"
        if timings.exists():
            with timings.open(encoding="utf-8", newline="") as file:
                own[kind] += float(list(csv.DictReader(file))[-1]["seconds"])

    print(f"\n{'make repro, from nothing':26} {'stages':>6} {'wall':>8} {'its work':>9} {'start, DVC':>11}")
    for kind, seconds in whole.items():
        print(f"{kind:26} {len(seconds):6} {sum(seconds):8.1f} {own[kind]:9.1f} {sum(seconds) - own[kind]:11.1f}")
    print(f"{'all':26} {len(starts) - 1:6} {ended:8.1f} {sum(own.values()):9.1f} {ended - sum(own.values()):11.1f}")


def show_second(folder: Path, repeats: int) -> None:
    print(f"\n{'make repro again':40} {median(['make', '-o', READY, 'repro'], folder, repeats)}")
    print(f"{'of which python -m seal.study.machine':40} "
          f"{median([sys.executable, '-m', 'seal.study.machine'], folder, repeats)}")  # fmt: skip

    printed = subprocess.run([sys.executable, "-c", PROFILE], cwd=folder, capture_output=True, text=True, check=True)
    seconds = [line.rsplit(" ", 1) for line in printed.stdout.splitlines()]
    total = next(float(number) for name, number in seconds if name == "all")
    print("of dvc repro, by cProfile (which makes it slower; parts may hold one another):")
    for part, (file, function) in PARTS_OF_DVC.items():
        share = sum(float(number) for name, number in seconds if name.endswith(f"{file}:{function}")) / total
        print(f"  {part:38} {share:7.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repro", action="store_true", help="the pipeline in a clone, from nothing and again")
    parser.add_argument("--set-up", action="store_true", help="the same with an environment of the clone's own")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as make does
    show_commands(chosen.repeats)
    if not (chosen.repro or chosen.set_up):
        return

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "seal"
        timed(["git", "clone", "--quiet", str(ROOT), str(folder)], ROOT)
        os.environ["PYTHONPATH"] = str(folder)
        if chosen.set_up:
            os.environ["UV_CACHE_DIR"] = f"{made}/uv"
            print(f"\n{'set-up, nothing cached':40} {timed(['make', READY], folder)}")
        else:
            (folder / ".venv").symlink_to(sys.prefix)
        show_first(folder)
        show_second(folder, chosen.repeats)


if __name__ == "__main__":
    main()
