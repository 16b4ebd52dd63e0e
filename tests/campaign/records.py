"""Families of what stages and commands have written: packs, weights, records, scratch, timings, locks."""

import json
import os
import random
import shutil
from dataclasses import fields
from pathlib import Path

import yaml

from seal.measure import Rates
from tests.campaign.mutations import mutated, spoiled
from tests.campaign.spoiling import RUN, Command, compare, evaluate, read_runs, refused, rewrite, spoil_any, train

PACK = Path("data/packs/mine.safetensors")


def packs(rng: random.Random) -> Command:
    from seal.data import packing

    if rng.random() < 0.5:
        rewrite(Path("data/sources/mine.json"), rng)
        return lambda: packing.main(["mine"])
    rewrite(PACK, rng, text=False)
    return rng.choice([evaluate, train])


def records(rng: random.Random) -> Command:
    return rng.choice([
        spoil_any("results/*/[!e]*.*", rng.choice([read_runs, compare])),
        spoil_any("results/*/predictions/*", rng.choice([read_runs, compare])),
        spoil_any("results/normal-0/weights/*", evaluate),
    ])(rng)  # fmt: skip


def scratch(rng: random.Random) -> Command:
    kind = rng.random()
    if kind < 0.4:
        shutil.rmtree("scratch")
        return spoil_any("results/normal-0/handover.safetensors", train)(rng)
    if kind < 0.8:
        return spoil_any("scratch/seal-0-*/*.safetensors", train)(rng)
    return refused(train, _others_state(rng))


def _others_state(rng: random.Random) -> str:
    """A resume state that is whole and not this training's: another run's, or of another number of threads."""
    from seal.checkpoint import State

    (own,), (other,) = Path("scratch").glob(f"{RUN}-*/state.safetensors"), Path("scratch").glob("llf-0-*/state.*")
    if rng.random() < 0.5:
        shutil.copyfile(other, own)
        return "another run's resume state"
    state = State.load(own)
    state.threads = (state.threads or 0) + rng.randrange(1, 9)
    state.save(own)
    return "another number of threads"


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
    return rng.choice([_lock, _timings, _verdicts, _calibration, _stage_name])(rng)


def _lock(rng: random.Random) -> Command:
    from seal.tracking.sync import stages_of

    lock = {"stages": {"train@seal-0": {"cmd": "x", "outs": [{"path": "results/seal-0/summary.json"}]}}}
    Path("dvc.lock").write_text(yaml.safe_dump(mutated(lock, rng)), errors="surrogateescape")
    return lambda: stages_of(Path("dvc.lock"))


def _timings(rng: random.Random) -> Command:
    from eval.report.times import write_times
    from seal.timings import read_timings

    path = rng.choice(sorted(Path("timings").glob("*.csv")))
    path.write_bytes(spoiled(path.read_bytes(), rng))
    return rng.choice([lambda: read_timings(path), lambda: write_times(Path("timings"), [Path("timings")])])


def _verdicts(rng: random.Random) -> Command:
    from eval.report.__main__ import main

    rewrite(Path("claims/claims.json"), rng)
    return lambda: main([])


def _calibration(rng: random.Random) -> Command:
    from seal.planning.calibration import known_machines

    names = [field.name for field in fields(Rates) if field.name != "launched"]
    known = {"rates": dict.fromkeys(names, 9.0), "start_seconds": 2.0, "device": "cpu", "at": 1e12}
    path = Path("calibration.json")
    path.write_text(json.dumps({"key": known}))
    rewrite(path, rng)
    return lambda: known_machines(path)


def _stage_name(rng: random.Random) -> Command:
    from seal.stage_names import parts

    words = [
        "transfer",
        "seal-0",
        "digits",
        "@",
        "-",
        "",
        " ",
        "é",
        "prediction_depth",
        "\n",
        "base",
        os.sep,
        "x" * 300,
    ]
    name = "".join(rng.choices(words, k=rng.randrange(5)))
    return lambda: parts(name)
