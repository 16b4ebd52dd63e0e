"""Errors meant for the user end in one line, not in a traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something that the user can mend; the message says what was found, what was expected and what to do."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a UserError into one line on stderr and exit status 1, and Ctrl-C into one and 130."""
    try:
        yield
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the last resume point", file=sys.stderr)
        sys.exit(130)
