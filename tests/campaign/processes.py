"""Stages and commands as processes that a fault can meet: forked from this one, which has imported what they import.

A fork is at work in milliseconds, where a new process imports for seconds; `fresh` starts such a new one, which can be
met while it imports. This process itself may train nothing: torch's threads do not outlive a fork.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NoReturn

ROOT = Path(__file__).parents[2]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CAPABILITIES = 0x20080522  # version 3 of capset(2)


@dataclass(frozen=True)
class Ended:
    status: int  # of a process that a signal ended, minus its number
    words: str  # on stderr


@dataclass(frozen=True)
class Process:
    pid: int
    errors: Path

    def meets(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self, longest: float) -> Ended:
        """Wait for it. Raises TimeoutError after `longest` seconds, and ends it."""
        deadline = time.monotonic() + longest
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return Ended(os.waitstatus_to_exitcode(status), self.errors.read_text(errors="replace"))
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"was not at its end after {longest:.0f} s")
            time.sleep(0.002)

    @property
    def lives_on(self) -> bool:
        """Whether a process of its session, which it began, is there after its end."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True


def begin(words: Sequence[str], folder: Path, errors: Path, *, fresh: bool = False, plain: bool = False) -> Process:
    """Start `python -m WORDS` in a folder; `plain`: for whom permissions hold, though it be root."""
    sys.stdout.flush()
    sys.stderr.flush()
    catchable = SIGNALS[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, catchable)  # until the child is where its command would be
    pid = os.fork()
    if pid == 0:
        _work(words, folder, errors, fresh, plain)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, catchable)
    return Process(pid, errors)


def _work(words: Sequence[str], folder: Path, errors: Path, fresh: bool, plain: bool) -> NoReturn:
    status = 1
    try:
        _apart(folder, errors)
        if plain:
            _without_capabilities()
        if fresh:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS[1:])
            os.execv(sys.executable, [sys.executable, "-m", *words])
        sys.argv = list(words)
        module = module_of(words[0])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS[1:])
        (module.app if words[0] == "seal.cli" else module.main)()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:  # as seal/__init__.py has it before a stage's own handling
        status = 130
    except BaseException:
        sys.__excepthook__(*sys.exc_info())
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS[1:])
        sys.stderr.flush()
        os._exit(status)


def module_of(name: str) -> ModuleType:
    """What `python -m NAME` runs."""
    module = import_module(name)
    return import_module(f"{name}.__main__") if hasattr(module, "__path__") else module


def _apart(folder: Path, errors: Path) -> None:
    """A session and an environment of its own, in its folder."""
    os.setsid()
    for number in SIGNALS[1:]:
        signal.signal(number, signal.SIG_DFL)  # a shell's background jobs begin deaf to SIGINT
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(folder.parent)}


def _without_capabilities() -> None:
    """Root is then a user like others, whom permissions stop; and Python's own files stay root's to read."""
    header, none = (ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")
