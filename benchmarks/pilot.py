"""The mini study's pilot: the length E, the learning rate and S, by the rules of expected/mini/PROTOCOL.md.

    python benchmarks/pilot.py [--out expected/mini/pilot.json] [--workers 2]

First Normal's generation 1 for each E and rate; then, from the one that the rule chooses, one generation of SEAL for
each S. Seed 1000, which is no seed of the study. Training and validation images alone are looked at. A row stays in the
file and is not measured again; each worker takes one thread.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seal.checkpoint import State
from seal.clock import Clock, learning_rate
from seal.config import Params
from seal.data.pack import PACKS, open_pack
from seal.phases import phase_of
from seal.record import write_json
from seal.rows import measure_clean, measure_validation
from seal.sections import Run
from seal.tiers import tier_params
from seal.trainer import Diverged, Trainer
from seal.training_data import make_data

SEED = 1000
LENGTHS, RATES = (20, 40, 80), (0.01, 0.03, 0.1)
SCALES = (0.01, 0.03, 0.1, 0.3, 1.0)
TRAINED = 0.99
SCRATCH = Path("scratch/pilot")

Row = dict[str, Any]


def changed(run: Run, epochs: int, rate: float, scale: float) -> Run:
    training = run.training.model_copy(update={"epochs_per_generation": epochs, "learning_rate": rate})
    if run.arm == "normal":
        return run.model_copy(update={"training": training})

    generations = run.generations.model_copy(update={"num_generations": 2})
    options = replace(run.options, ascent_epochs=epochs // 4, ascent_lr_scale=scale)
    return run.model_copy(update={"training": training, "generations": generations, "options": options})


def measured(trainer: Trainer, clock: Clock) -> Row:
    return measure_clean(trainer, clock) | {"val_accuracy": measure_validation(trainer)["val_accuracy"]}


def ascends(trainer: Trainer, clock: Clock) -> bool:
    return phase_of(trainer.method.rules(clock)) == "ascent"


def trained(params: Params, arm: str, epochs: int, rate: float, scale: float = 0.0) -> Row:
    """Normal's generation 1, or from its end one generation of SEAL; what the end of each phase looks like."""
    torch.set_num_threads(1)
    run = changed(params.run(arm, SEED), epochs, rate, scale)
    cpu = torch.device("cpu")
    trainer = Trainer(run, make_data(run, open_pack(PACKS / f"{params.source}.safetensors"), cpu), cpu)
    state, kept = State(), SCRATCH / f"{epochs}-{rate:g}.safetensors"
    if arm != "normal":
        state = State.load(kept)
        state.put(trainer.model, trainer.optimizer, trainer.names)
    row: Row = {"epochs": epochs, "rate": rate}
    if arm != "normal":
        dose = sum(
            scale * learning_rate(run, clock)
            for clock in trainer.course.clocks(after=state.clock)
            if ascends(trainer, clock)
        )
        row |= {"scale": scale, "dose": dose * len(trainer.data.train)}
    try:
        for clock in trainer.course.clocks(after=state.clock):
            trainer.begin_epoch(clock)
            losses = trainer.train_epoch(clock, lambda *_: None)
            if trainer.phases.ends(clock):
                phase = "ascent" if ascends(trainer, clock) else "end"
                row[phase] = losses | measured(trainer, clock)
            state.clock = clock
    except Diverged as error:
        return row | {"diverged": error.place}
    if arm == "normal":
        state.take(trainer.model, trainer.optimizer, trainer.names)
        state.save(kept)
    return row


def chosen_regime(rows: list[Row]) -> Row | None:
    """The smallest E at which a rate ends above 99%, and of its passing rates the best by validation images.

    Without one the rate that ends highest at the longest E; None while rates are missing.
    """
    for epochs in LENGTHS:
        at = [row for row in rows if row["epochs"] == epochs]
        if len(at) < len(RATES):
            return None
        ended = [row for row in at if "end" in row]
        passing = [row for row in ended if row["end"]["clean_accuracy"] >= TRAINED]
        if passing:
            return max(passing, key=lambda row: float(row["end"]["val_accuracy"]))
    return max(ended, key=lambda row: float(row["end"]["clean_accuracy"]))


def recovers(first: Row, row: Row) -> bool:
    """R(S): within 1 point of generation 1's clean training accuracy, and within 5% of its loss."""
    if "end" not in row:
        return False
    lost = first["end"]["clean_accuracy"] - row["end"]["clean_accuracy"]
    return lost <= 0.01 + 1e-9 and row["end"]["clean_loss"] <= 1.05 * first["end"]["clean_loss"]


def forgets(row: Row, classes: int) -> bool:
    """A(S): at most twice chance after the ascent, by batch statistics."""
    return "ascent" in row and bool(row["ascent"]["clean_accuracy_batch_statistics"] <= 2 / classes)


class Pilot:
    """The rows measured so far, kept in a file."""

    def __init__(self, out: Path, workers: int) -> None:
        self.out, self.workers, self.params = out, workers, tier_params("mini")
        self.rows: dict[str, list[Row]] = {"regime": [], "ascent": []}
        if out.exists():
            self.rows = json.loads(out.read_text(encoding="utf-8"))

    def run(self, part: str, arm: str, epochs: int, choices: list[tuple[float, float]]) -> list[Row]:
        """Measure what is not there yet of these rates and scales. Gives all rows of that length."""
        found = self.rows[part]
        done = {(row["epochs"], row["rate"], row.get("scale", 0.0)) for row in found}
        wanted = [(arm, epochs, *choice) for choice in choices if (epochs, *choice) not in done]
        with ProcessPoolExecutor(self.workers) as pool:
            for future in as_completed([pool.submit(trained, self.params, *each) for each in wanted]):
                found.append(future.result())
                print(json.dumps(found[-1]), flush=True)
                found.sort(key=lambda row: (row["epochs"], row["rate"], row.get("scale", 0.0)))
                write_json(self.out, self.rows)
        return [row for row in found if row["epochs"] == epochs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("expected/mini/pilot.json"))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)
    pilot = Pilot(arguments.out, arguments.workers)
    for epochs in LENGTHS:
        pilot.run("regime", "normal", epochs, [(rate, 0.0) for rate in RATES])
        if regime := chosen_regime(pilot.rows["regime"]):
            break
    assert regime is not None
    rate = regime["rate"]
    print(f"learning rate {rate:g}, E = {regime['epochs']}")
    for epochs in (regime["epochs"], 2 * regime["epochs"]):
        (first,) = (row for row in pilot.run("regime", "normal", epochs, [(rate, 0.0)]) if row["rate"] == rate)
        rows = pilot.run("ascent", "seal", epochs, [(rate, scale) for scale in SCALES])
        classes = len(open_pack(PACKS / f"{pilot.params.source}.safetensors").classes)
        recovering = [row["scale"] for row in rows if recovers(first, row)]
        both = [row["scale"] for row in rows if recovers(first, row) and forgets(row, classes)]
        print(f"E = {epochs}: R holds for S in {recovering}, A and R for {both}")
        if both:
            print(f"S* = {min(both):g}")
            return
    print(f"S* = {max(recovering):g} by R alone: R2 counts as failed" if recovering else "no S recovers")


if __name__ == "__main__":
    main()
