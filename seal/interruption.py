"""How a stage or command ends that is stopped before its own handling is there: while it imports, torch for seconds.

`import seal` does this before anything else, so what is imported here is Python's own.
"""

import ctypes
import os
import signal
import sys
from types import TracebackType


def end_well_while_importing() -> None:
    """Of a process that `python -m` of this package or of eval has started: what DVC has started ends with DVC, and
    Ctrl-C is one word."""
    if sys.argv[:1] != ["-m"]:
        return

    if "DVC_STAGE" in os.environ:
        die_with_parent()
    sys.excepthook, sys.unraisablehook = _one_word, _not_ignored


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends: a killed `dvc repro` would else leave it training on."""
    parent = os.getppid()
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request was made
        os.kill(os.getpid(), signal.SIGKILL)


def _one_word(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C before the stage's own handling is there: one word, and not where in an import it came."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print("interrupted", file=sys.stderr, flush=True)
    os._exit(130)


def _not_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C in a callback, of a weak reference for one, whose errors Python tells of and goes on."""
    if not issubclass(ignored.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    _one_word(ignored.exc_type, ignored.exc_value or KeyboardInterrupt(), ignored.exc_traceback)
