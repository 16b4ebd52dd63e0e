"""Checks of what `seal submit` needs: locks that nodes see, links, room, Slurm's nodes, limits and accounting.

`seal doctor --cluster` asks. Without Slurm's commands they are of this machine alone.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from seal.cluster.queue import slurm
from seal.cluster.settings import cache_folder
from seal.cluster.submission import CLUSTER
from seal.cluster.submit import check_project
from seal.cluster.workspace import link_of
from seal.doctor.finding import Finding
from seal.errors import UserError
from seal.record import scratch_root

SCRATCH = scratch_root()
NEEDED_GB = 10.0
PATIENCE = 300  # s, for which Slurm may let a check wait
HELD = 3  # exit status of a process that finds the lock held
TRY = f"""
import sys; from filelock import FileLock, Timeout
print("tries", flush=True)
try: FileLock(sys.argv[1], blocking=False).acquire()
except Timeout: sys.exit({HELD})
"""
LOCKS = "mount NFS without nolock and local_lock, Lustre with -o flock; jobs do without, a `dvc repro` beside them not"


def check_locks() -> Finding:
    """A lock that this process holds is tried by another: on a node where there is Slurm. Raises UserError outside of a
    project, where it would make folders."""
    check_project()
    node = ["srun", "--quiet", "--ntasks=1", "--time=5"] if shutil.which("srun") else []
    place = "a node" if node else "another process"
    (CLUSTER / "lock").mkdir(parents=True, exist_ok=True)
    path = (CLUSTER / "lock/doctor").absolute()
    with FileLock(path):
        command = [*node, sys.executable, "-c", TRY, str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            if error.stdout or not node:
                return Finding(
                    "locks", "fail", f"{place} asks for a lock, and has no answer within {PATIENCE} s", LOCKS
                )
            return Finding("locks", "warn", f"no node was free within {PATIENCE} s", "ask again when one is")

    if done.returncode == HELD:
        return Finding("locks", "ok", f"{place} sees a lock that is held here")
    if done.returncode == 0:
        return Finding("locks", "warn", f"{place} does not see a lock that is held here", LOCKS)
    words = (done.stderr.strip().splitlines() or ["no word"])[-1]
    return Finding("locks", "fail", f"{place} could not try: {words}", "a node needs this folder and its .venv")


def check_links() -> Finding:
    check_project()
    link = link_of(cache_folder())
    if link is not None:
        return Finding("links", "ok", f"workspaces get the cache's files by {link}")
    return Finding("links", "warn", "workspaces copy the cache's files", "keep the cache on the project's disk")


def check_room() -> Finding:
    free_gb = {}
    for folder in filter(Path.exists, (Path.cwd(), cache_folder(), SCRATCH)):
        free_gb[folder] = shutil.disk_usage(folder).free / 1e9

    rooms = [f"{folder} {free:.0f} GB" for folder, free in free_gb.items()]
    return Finding("room", "ok" if min(free_gb.values()) >= NEEDED_GB else "warn", f"free: {', '.join(rooms)}")


def check_nodes() -> Finding:
    if shutil.which("sinfo") is None:
        return Finding("nodes", "ok", "no Slurm on the PATH", "`seal submit --local N` needs none")

    lines = slurm("sinfo", "--noheader", "--Node", "--format=%N|%c cores|%G").splitlines()
    kinds = Counter[str]()
    for node in sorted({*lines}):  # a node has a line in each partition
        kind = node.partition("|")[2]
        kinds[kind.replace("|(null)", "").replace("|", ", ")] += 1

    counts = [f"{count} of {kind}" for kind, count in kinds.items()]
    return Finding("nodes", "ok", "; ".join(counts))


def check_limits() -> Finding:
    times = slurm("sinfo", "--noheader", "--format=%P %l").split("\n")
    settings = dict(re.findall(r"^(MaxArraySize|MaxJobCount) *= (\S+)", slurm("scontrol", "show", "config"), re.M))
    fact = "; ".join([*filter(None, times), *map(" ".join, settings.items())])
    return Finding("limits", "ok", fact, "a shorter --sbatch=--time=MINUTES starts sooner; trainings go on")


def check_accounting() -> Finding:
    try:
        slurm("sacct", "--noheader", "--allocations", "--starttime=now")
    except UserError as error:
        return Finding("accounting", "ok", f"none: {error}", "`seal status` does without")
    return Finding("accounting", "ok", "sacct answers")


def cluster_checks() -> dict[str, Callable[[], Finding]]:
    checks = {"locks": check_locks, "links": check_links, "room": check_room, "nodes": check_nodes}
    if shutil.which("sinfo"):
        checks |= {"limits": check_limits, "accounting": check_accounting}
    return checks
