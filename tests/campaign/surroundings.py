"""Families of what is around a command: its words, the environment, the disk, MLflow's database."""

import errno
import os
import random
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.campaign.mutations import EXTREME
from tests.campaign.spoiling import Command, evaluate, fetch_and_pack, refused, train

WORDS = ["--record", "--seed", "x", "-1", "smoke", "", "é", "--out", "\x1b[31m", "results", "tier", "study", "plan"]


def command_line(rng: random.Random) -> Command:
    from seal.cli import app

    command = rng.choice(["tier", "compare", "check", "bundle"])
    arguments = [command, *rng.sample(WORDS, rng.randrange(1, 4))]

    def call() -> None:
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception

    return call


def environment(rng: random.Random) -> Command:
    name = rng.choice(["SEAL_DATA_MIRROR", "SEAL_SCRATCH"])
    os.environ[name] = rng.choice(["", "nowhere", "params.yaml", "/dev/null", "/proc", "\udcff", "x" * 300, "a\nb"])
    return rng.choice([fetch_and_pack, train])


def disk(rng: random.Random) -> Command:
    """The n-th name that is taken finds a full, read-only or broken disk."""
    from seal import files

    number = rng.choice([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG, errno.ENOTDIR])
    left, command = [rng.randrange(3)], rng.choice([fetch_and_pack, evaluate])
    real = files.tempfile.mkstemp

    def fails(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    def call() -> None:
        files.tempfile.mkstemp = fails
        try:
            command()
        finally:
            files.tempfile.mkstemp = real

    return call


def mlflow(rng: random.Random) -> Command:
    from seal.tracking import database

    path, kind = Path("mlflow.db"), rng.choice(["bytes", "a folder", "artifacts", "a link", "a lock"])
    if kind == "a lock":
        return refused(_locked, "a lock that another holds")
    if kind == "bytes":
        path.write_bytes(rng.randbytes(rng.choice([0, 10, 5000])))
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a link":
        path.symlink_to(rng.choice(["nowhere/x", "mlflow.db", "/dev/null"]))
    else:
        Path("mlartifacts").write_text(str(rng.choice(EXTREME)))
    return lambda: database.database_problem(Path.cwd())


def _locked() -> None:
    """Another process is at the database; by flock itself, as a lock's own object knows its process."""
    import fcntl

    from seal.tracking import database

    real, database.LONGEST_MIGRATION = database.LONGEST_MIGRATION, 0.1
    try:
        with Path("mlflow.db.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            database.open_database(Path.cwd())
    finally:
        database.LONGEST_MIGRATION = real
