"""What the families of bad inputs share: how a file is spoiled, and the commands that then meet it."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.campaign.mutations import mutated, spoiled

Command = Callable[[], object]
Family = Callable[[random.Random], Command]  # spoils the project in the working directory, and gives what meets it
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


def spoil_any(pattern: str, command: Command, text: bool = True) -> Family:
    def family(rng: random.Random) -> Command:
        path = rng.choice(sorted(Path().glob(pattern)))
        rewrite(path, rng, text and path.suffix in (".json", ".yaml"))
        return command

    return family


def refused(command: Command, what: str) -> Command:
    """The command, which must not end well: what it meets cannot be right."""

    def call() -> None:
        command()
        raise AssertionError(f"{what} was believed")

    return call


def load() -> None:
    from seal.config import load_params

    load_params()


def fetch_and_pack() -> None:
    from seal.data import fetch, packing

    fetch.main(["mine"])
    packing.main(["mine"])


def evaluate() -> None:
    from eval import prediction_depth

    prediction_depth.main(["--run", "normal-0"])


def train() -> None:
    from seal.train import main

    main(["--run", RUN])


def read_runs() -> None:
    from seal.runs import Runs

    Runs.read([Path("results")])


def compare() -> None:
    from seal.study.compare import compare

    compare(Path("results"), Path("results"))
