"""SEAL: simulated annealing in early layers, trained by generations (CVPR 2023)."""

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if "DVC_STAGE" in os.environ and sys.argv[:1] == ["-m"]:  # DVC starts a stage of this package, or of eval
    # Before the stage's own imports: torch takes seconds, in which DVC may be killed.
    from seal.stage import die_with_parent

    die_with_parent()

if sys.argv[:1] == ["-m"]:  # a stage or command of this package, or of eval, is about to import what it needs

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

    sys.excepthook, sys.unraisablehook = _one_word, _not_ignored

if TYPE_CHECKING:
    from seal.forgetting import Forgetting as Forgetting
    from seal.optim import SignedSGD as SignedSGD
    from seal.split import split_parameters as split_parameters

__all__ = ["Forgetting", "SignedSGD", "split_parameters"]


def __getattr__(name: str) -> object:
    # Importing torch takes seconds; the stages and commands that never use it should not wait for it.
    if name == "Forgetting":
        from seal.forgetting import Forgetting

        return Forgetting
    if name == "SignedSGD":
        from seal.optim import SignedSGD

        return SignedSGD
    if name == "split_parameters":
        from seal.split import split_parameters

        return split_parameters
    raise AttributeError(f"module 'seal' has no attribute {name!r}")
