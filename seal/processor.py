"""The processor: which it is, as timings name it, and how much of it this process may use."""

import os
import platform
from functools import cache
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")


@cache
def cpu_name() -> str:
    """The processor's model as the kernel reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()

    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def processor() -> str:
    """As timings name it: cores and model."""
    return f"{os.cpu_count()} x {cpu_name()}"


def usable_cores() -> int:
    """Cores that this process may use: affinity, and the container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not QUOTA.exists():
        return cores

    limit, period = QUOTA.read_text(encoding="utf-8").split()
    return cores if limit == "max" else min(cores, max(1, int(limit) // int(period)))
