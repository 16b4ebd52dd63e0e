"""What a command can meet: a signal, a full disk, a permission taken away, itself.

Each gives the project in which it was met, and a command that begins again there after the fault is over.
"""

import ctypes
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaign.commands import COMMANDS, LONGEST, Good, copied
from tests.campaign.processes import SIGNALS, Ended, Process, begin

FRESH = 4  # every so many signals meets a new process, which imports first
LONGEST_IMPORT = 3.0  # s, with a start that others slow
TMPFS_BYTES = 64 * 2**20
CLONE_NEWNS = 0x00020000


class LeftOut(Exception):
    """What this machine does not let be tried."""


@dataclass
class Case:
    """A command of a project that meets a fault in `place`, where there is nothing else."""

    name: str
    project: Path
    good: Good
    place: Path
    rng: random.Random
    number: int
    plain: bool = False
    copy: Path = field(init=False)

    def copies(self, place: Path) -> None:
        self.copy = copied(self.project, place, self.name, without_outs=self.number % 2 == 0)

    def begins(self, fresh: bool = False) -> Process:
        errors = self.place / f"errors-{self.rng.random()}"
        return begin(COMMANDS[self.name].words, self.copy, errors, fresh=fresh, plain=self.plain)


Ends = list[tuple[int | None, Ended]]  # of each process: the signal that met it, and how it ended


@contextmanager
def signals(case: Case) -> Iterator[Ends]:
    """One of three at a random moment."""
    case.copies(case.place)
    fresh, number = case.number % FRESH == 1, case.rng.choice(SIGNALS)
    process = case.begins(fresh)
    # Python itself needs the first moments of a new process.
    time.sleep(0.5 + case.rng.random() * LONGEST_IMPORT if fresh else case.rng.random() * case.good.seconds * 1.1)
    process.meets(number)
    ended = process.end(LONGEST)
    if process.lives_on:
        raise AssertionError("a process lives on")
    yield [(number, ended)]


@contextmanager
def full_disk(case: Case) -> Iterator[Ends]:
    """A tmpfs on which so many bytes are left; it is the namespace's own, and goes with this process."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise LeftOut("a small tmpfs needs root and a namespace of mounts")
    disk = case.place / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
        size = f"size={TMPFS_BYTES}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        raise LeftOut("mount is refused here") from None

    try:
        case.copies(disk)
        written = [case.project / name for name in case.good.files if name.startswith(_written_below(case.name))]
        most = 2 * sum(path.stat().st_size + 4096 for path in written if path.exists()) + 2**16
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with (disk / "filler").open("wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, free - int(case.rng.random() * most))
        ended = case.begins().end(LONGEST)
        (disk / "filler").unlink()
        yield [(None, ended)]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _written_below(name: str) -> tuple[str, ...]:
    return COMMANDS[name].outs or ("params.yaml", "folders.json")


@contextmanager
def permissions(case: Case) -> Iterator[Ends]:
    """A file or folder that the command's user, who is not root in this, may not read, write or enter."""
    case.copies(case.place)
    case.plain = True
    paths = sorted(path for path in case.copy.rglob("*") if not path.is_relative_to(case.copy / "params"))
    near = [case.copy / Path(out).parent for out in COMMANDS[case.name].outs] + [case.copy]
    taken = case.rng.choice([path for path in near if path.exists()] if case.rng.random() < 0.4 else paths)
    mode = taken.stat().st_mode
    taken.chmod(case.rng.choice([0, 0o444, 0o555]))
    try:
        ended = case.begins().end(LONGEST)
    finally:
        if taken.exists():
            taken.chmod(mode)
    yield [(None, ended)]


@contextmanager
def itself(case: Case) -> Iterator[Ends]:
    """Two of one command at once, the second a moment later."""
    case.copies(case.place)
    first = case.begins()
    time.sleep(case.rng.random() * case.good.seconds * 0.5)
    second = case.begins()
    ends = [first.end(LONGEST), second.end(LONGEST)]
    if all(ended.status for ended in ends):
        raise AssertionError(f"neither of two ended well: {ends[0].words[-200:]!r} {ends[1].words[-200:]!r}")
    yield [(None, ended) for ended in ends]


MEETINGS = {"a signal": signals, "a full disk": full_disk, "a permission less": permissions, "itself": itself}
