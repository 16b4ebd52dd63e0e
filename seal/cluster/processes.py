"""The processes that submissions of this project have started on this machine, told by their environment.

`seal cancel` ends them, and `status` asks whether a stage's job lives. Linux's /proc, no pid files.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from seal.cluster.submission import CLUSTER, MARKER

GRACE = 10.0  # s from SIGTERM to SIGKILL


def started_here() -> Iterator[int]:
    """Process ids of whatever a submission of this project has started, orphans of a killed make among them."""
    marker = f"{MARKER}={CLUSTER.absolute()}{os.sep}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            variables = (entry / "environ").read_bytes().split(b"\0")
            if any(variable.startswith(marker) for variable in variables) and int(entry.name) != os.getpid():
                yield int(entry.name)


def end_all() -> int:
    """End them; how many there were."""
    ended = set[int]()
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 1.0)):
        deadline = time.monotonic() + seconds
        while (pids := {*started_here()}) and time.monotonic() < deadline:
            for pid in pids - ended if number == signal.SIGTERM else pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            ended |= pids
            time.sleep(0.1)
    return len(ended)
