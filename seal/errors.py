"""Errors meant for the user end in one line, not in a traceback."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(Exception):
    """Something that the user can mend; the message says what was found, what was expected and what to do."""


class ConfigError(UserError):
    """A parameter that cannot be used."""


LONGEST = 2000  # characters of a message: a screen
SHOWN = 120  # of a value in it


def short(text: str, most: int = SHOWN) -> str:
    """A value as a message shows it: its middle left out where it is long."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... {text[-half:]} ({len(text)} characters)"


def printable(message: str) -> str:
    """One line, no longer than a screen, in which a file's name cannot steer the terminal."""
    shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in message)
    return short(shown, LONGEST)


def first_line(error: BaseException) -> str:
    """Of its message, or its kind where it has none, as a bare assert."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


def first_problem(error: "ValidationError") -> str:
    """Of a document against its model: the place, and what is wrong there."""
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{short(place) or 'it all'}: {problem['msg']}"


# What the user can mend when a file cannot be written.
AGAIN = "and run the same command again"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"make room {AGAIN}"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), f"make it one that can be read and written, {AGAIN}"),
    **dict.fromkeys((errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE), f"look after the disk, {AGAIN}"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM), f"let the system give more (ulimit), {AGAIN}"),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY), f"move away what is there, {AGAIN}"),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV), f"choose another folder or name, {AGAIN}"),
    errno.EFBIG: f"let files be larger (ulimit -f), {AGAIN}",
    errno.ENOENT: f"bring it back, {AGAIN}",
}


def of_one_file(error: OSError) -> OSError:
    """The error itself; of a tree that was not copied whole, whose error has (source, target, reason) of each file in
    the place of an errno, the first file's."""
    if not isinstance(error, shutil.Error) or not isinstance(error.args[0], list):
        return error

    source, target, reason = error.args[0][0]
    number = re.match(r"\[Errno (\d+)\]", reason)
    if number is None:
        return error
    place = source if reason.endswith(f"] {os.strerror(int(number[1]))}: {source!r}") else target
    return OSError(int(number[1]), os.strerror(int(number[1])), error.filename or place)


@contextmanager
def one_line_errors(prefix: str = "error", resumes: str = "") -> Iterator[None]:
    """Turn a UserError into one line on stderr, `prefix: message`, and exit status 1, and Ctrl-C into one and 130.

    So too a file that cannot be written, and an optimizer backend that cannot run here. `resumes`: what the same
    command does after Ctrl-C, where it goes on from what is there.
    """
    try:
        yield
    except UserError as error:
        sys.exit(printable(f"{prefix}: {error}"))
    except OSError as error:
        first = of_one_file(error)
        if first.errno not in REMEDIES:
            raise

        place = f"{first.filename}: " if first.filename else ""
        sys.exit(printable(f"{prefix}: {place}{first.strerror}; {REMEDIES[first.errno]}"))
    except RuntimeError as error:
        if type(error).__name__ != "BackendError":  # of seal/kernels, which know no UserError and bring torch
            raise

        sys.exit(f"{prefix}: runtime.optimizer_backend: {first_line(error)}")
    except KeyboardInterrupt:
        place = "" if prefix == "error" else f"{prefix}: "
        print(f"{place}interrupted{resumes and f': {resumes}'}", file=sys.stderr)
        sys.exit(130)
