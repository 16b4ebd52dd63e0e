"""DVC's repository as this project reads it; its errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from seal.errors import UserError


@contextmanager
def dvc_errors() -> Iterator[None]:
    """Turn an error of DVC's, as of Repo(), into a UserError that says what to do."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.scm import SCMError

    try:
        yield
    except DvcException as error:
        found, advice = str(error).splitlines()[0].rstrip("."), "`dvc status` says more"
        if isinstance(error, LockError):
            found = "found it at work here"  # its own message names a file and a process over several lines
            advice = "wait until the running `dvc` or `make repro` has ended, and run again"
        elif isinstance(error, SCMError):
            advice = "where the project was unpacked without git, `dvc config --local core.no_scm true` tells DVC so"
        raise UserError(f"DVC: {found}; {advice}") from error
