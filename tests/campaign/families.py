"""The families of bad inputs: what is spoiled in a small project, and the command that then meets it.

Each is a function of the project's folder, which is the working directory, and of a random generator; it spoils and
gives the command. What may happen then is judge.py's to say.
"""

import contextlib
import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from tests.campaign.mutations import EXTREME, mutated, spoiled

Command = Callable[[], object]
Family = Callable[[random.Random], Command]
RUN = "seal-0"


def rewrite(path: Path, rng: random.Random, text: bool = True) -> None:
    """Spoil a JSON or YAML file by its structure or by its bytes, any other by its bytes; never through a link."""
    content = path.read_bytes()
    path.unlink()
    if text and rng.random() < 0.6:
        document = mutated(json.loads(content) if path.suffix == ".json" else yaml.safe_load(content), rng)
        dumped = json.dumps(document) if path.suffix == ".json" else yaml.safe_dump(document, sort_keys=False)
        path.write_text(dumped, encoding="utf-8", errors="surrogateescape")
    else:
        path.write_bytes(spoiled(content, rng))


def load() -> None:
    from seal.config import load_params

    load_params()


def params(rng: random.Random) -> Command:
    rewrite(Path("params.yaml"), rng)
    return load


def section(*names: str) -> Family:
    def family(rng: random.Random) -> Command:
        document = yaml.safe_load(Path("params.yaml").read_text())
        name = rng.choice(names)
        document[name] = mutated(document[name], rng)
        Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False), errors="surrogateescape")
        return load

    return family


def fetch_and_pack() -> None:
    from seal.data import fetch, packing

    fetch.main(["mine"])
    packing.main(["mine"])


def folders(rng: random.Random) -> Command:
    image = rng.choice(sorted(Path("images").rglob("*.png")))
    kind = rng.choice(["bytes", "link", "folder", "name", "hidden", "one class", "fifo"])
    if kind == "bytes":
        rewrite(image, rng, text=False)
    elif kind == "link":
        image.with_name("x.png").symlink_to(rng.choice(["nowhere", "x.png", "..", image.name]))
    elif kind == "folder":
        image.with_name("x.png").mkdir()
    elif kind == "name":
        image.rename(image.with_name(rng.choice(["é.png", "a b.png", "\u202e.png", "-rf.png", "x" * 240 + ".png"])))
    elif kind == "hidden":
        shutil.copytree(image.parent, Path("images") / rng.choice([".x", "@eaDir", "__MACOSX", ".Trash-1000"]))
    elif kind == "fifo":
        os.mkfifo(image.with_name("x.png"))
    else:
        shutil.rmtree(image.parent)
    return fetch_and_pack


def archives(rng: random.Random) -> Command:
    from seal.data.archives import open_archives

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("cat/0.png", rng.choice(["cat/1.png", "../x", "/etc/x", "C:\\x", "a\nb", "cat//../../y"])):
            archive.writestr(name, rng.randbytes(50))
    Path("a.zip").write_bytes(spoiled(content.getvalue(), rng) if rng.random() < 0.7 else content.getvalue())

    def read() -> None:
        with open_archives([Path("a.zip")]) as members:
            for member in members.values():
                member.read()

    return read


def packs(rng: random.Random) -> Command:
    from seal.data import packing

    if rng.random() < 0.5:
        rewrite(Path("data/sources/mine.json"), rng)
        return lambda: packing.main(["mine"])
    rewrite(Path("data/packs/mine.safetensors"), rng, text=False)
    return evaluate


def evaluate() -> None:
    from eval import prediction_depth

    prediction_depth.main(["--run", "normal-0"])


def train() -> None:
    from seal.train import main

    main(["--run", RUN])


def read_runs() -> None:
    from seal.runs import Runs

    Runs.read([Path("results")])


def spoil_any(pattern: str, command: Command, text: bool = True) -> Family:
    def family(rng: random.Random) -> Command:
        path = rng.choice(sorted(Path().glob(pattern)))
        rewrite(path, rng, text and path.suffix in (".json", ".yaml"))
        return command

    return family


def records(rng: random.Random) -> Command:
    return rng.choice([
        spoil_any("results/*/[!e]*.*", read_runs), spoil_any("results/*/predictions/*", read_runs),
        spoil_any("results/normal-0/weights/*", evaluate),
    ])(rng)  # fmt: skip


def scratch(rng: random.Random) -> Command:
    if rng.random() < 0.5:
        shutil.rmtree("scratch")
        return spoil_any("results/normal-0/handover.safetensors", train)(rng)
    return spoil_any("scratch/seal-0-*/*.safetensors", train)(rng)


def swapped_parts(rng: random.Random) -> Command:
    """One of two runs' parts, of the same name, takes the other's place; both are then read."""
    names = ["history.csv", "summary.json", "predictions/gen-01.npz", "predictions/gen-02.npz"]
    name = rng.choice(names)
    own, other = Path("results", RUN, name), Path("results", "llf-0", name)
    if rng.random() < 0.5:
        own, other = other, own
    content, was = other.read_bytes(), own.read_bytes()
    own.unlink()
    own.write_bytes(content)

    def read() -> None:
        from seal.runs import Runs

        broken = Runs.read([Path("results")]).broken
        assert content == was or own.parts[1] in broken, f"{own} was believed"

    return read


def derived(rng: random.Random) -> Command:
    from seal.record import read_timings
    from seal.tracking.sync import stages_of

    if rng.random() < 0.5:
        lock = {"stages": {"train@seal-0": {"cmd": "x", "outs": [{"path": "results/seal-0/summary.json"}]}}}
        Path("dvc.lock").write_text(yaml.safe_dump(mutated(lock, rng)), errors="surrogateescape")
        return lambda: stages_of(Path("dvc.lock"))
    path = rng.choice(sorted(Path("timings").glob("*.csv")))
    path.write_bytes(spoiled(path.read_bytes(), rng))
    return lambda: read_timings(path)


def command_line(rng: random.Random) -> Command:
    from seal.cli import app

    words = [
        "tier",
        "study",
        "plan",
        "compare",
        "claims",
        "--record",
        "--seed",
        "x",
        "-1",
        "smoke",
        "",
        "é",
        "--out",
        "\x1b[31m",
        "results",
    ]
    arguments = rng.sample(words, rng.randrange(1, 4))
    if arguments[0] in ("study", "plan", "compare", "claims") or "study" in arguments:
        arguments = ["compare", *arguments[1:]]

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
    import errno

    from seal import files

    number = rng.choice([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG, errno.ENOTDIR])
    after, command = rng.randrange(3), rng.choice([fetch_and_pack, evaluate])
    left = [after]
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


def names(rng: random.Random) -> Command:
    new = rng.choice([os.fsdecode(b"\xff\xfe"), "é", "a b", "\x1b[31m", "..x", "%", "${x}", "a\nb", "\u202eabc", "#x"])
    if rng.random() < 0.5:
        Path("images/cat").rename(Path("images") / new)
    else:
        image = next(Path("images/cat").glob("*.png"))
        image.rename(image.with_name(f"{new}.png"))
    return fetch_and_pack


def security(rng: random.Random) -> Command:
    harm = rng.choice(["!!python/object/apply:os.mkdir [owned]", "<script>", "../../x", "$(mkdir owned)", "{{7*7}}"])
    document = Path("params.yaml").read_text()
    key = rng.choice(["source: mine", "tier: smoke", "path: images", "device: auto"])
    Path("params.yaml").write_text(document.replace(key, f"{key.partition(':')[0]}: {harm}"))

    def call() -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(lambda: None)
            try:
                load()
                fetch_and_pack()
            finally:
                assert not Path("owned").exists(), "something was run from a file"

    return call


def mlflow(rng: random.Random) -> Command:
    from seal.tracking.database import database_problem

    kind = rng.choice(["bytes", "folder", "artifacts", "link"])
    if kind == "bytes":
        Path("mlflow.db").write_bytes(rng.randbytes(rng.choice([0, 10, 5000])))
    elif kind == "folder":
        Path("mlflow.db").mkdir()
    elif kind == "link":
        Path("mlflow.db").symlink_to(rng.choice(["nowhere/x", "mlflow.db", "/dev/null"]))
    else:
        Path("mlartifacts").write_text(str(rng.choice(EXTREME)))
    return lambda: database_problem(Path.cwd())


FAMILIES: dict[str, Family] = {
    "params": params,
    "run and training sections": section("training", "generations", "model", "arms", "runtime", "datasets"),
    "evaluation sections": section("transfer", "fewshot", "fewshot_affines", "prediction_depth", "hessian"),
    "folders and lists": folders,
    "archives": archives,
    "fetched records and packs": packs,
    "weights and records": records,
    "evaluation files": spoil_any("results/normal-0/eval/*/*", read_runs),
    "handover and scratch": scratch,
    "swapped parts": swapped_parts,
    "timings and lock": derived,
    "command line": command_line,
    "disk, permissions and limits": disk,
    "environment": environment,
    "MLflow": mlflow,
    "names and encodings": names,
    "security": security,
}
