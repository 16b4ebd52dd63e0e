"""The mini study's pilot: the length E, the learning rate and S, by the rules of expected/mini/PROTOCOL.md.

    python benchmarks/pilot.py regime|ascent [--out expected/mini/pilot.json] [--workers 2]

`regime` trains Normal's generation 1 for each E and rate; `ascent` goes on from the one that the rule chooses with one
generation of SEAL for each S. Seed 1000, which is no seed of the study. Training and validation images alone are looked
at. A row stays in the file and is not measured again; each worker takes one thread.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from seal.checkpoint import State
from seal.clock import Clock, clocks, learning_rate
from seal.config import Params, Run, load_params
from seal.data.pack import PACKS, open_pack
from seal.record import write_json
from seal.statistics import running_statistics
from seal.train import make_data
from seal.trainer import Diverged, Trainer

SEED = 1000
LENGTHS, RATES = (20, 40, 80), (0.01, 0.03, 0.1)
SCALES = (0.01, 0.03, 0.1, 0.3, 1.0)
TRAINED = 0.99
SCRATCH = Path("scratch/pilot")

Row = dict[str, Any]


def changed(run: Run, epochs: int, rate: float, scale: float) -> Run:
    training = run.training.model_copy(update={"epochs_per_generation": epochs, "learning_rate": rate})
    changes = {"ascent_epochs": epochs // 4, "ascent_lr_scale": scale, "num_generations": 1 + (run.arm != "normal")}
    return run.model_copy(update={"training": training, "generations": run.generations.model_copy(update=changes)})


def measured(trainer: Trainer, clock: Clock) -> Row:
    row = trainer.measure_clean(clock)
    with running_statistics(trainer.model):
        _, right = trainer.measure(trainer.model, trainer.data.val.clean())
    return row | {"val_accuracy": float(right.double().mean())}


def trained(params: Params, arm: str, epochs: int, rate: float, scale: float = 0.0) -> Row:
    """Normal's generation 1, or from its end one generation of SEAL; what the end of each phase looks like."""
    torch.set_num_threads(1)
    run = changed(params.run(arm, SEED), epochs, rate, scale)
    cpu = torch.device("cpu")
    trainer = Trainer(run, make_data(run, open_pack(PACKS / f"{params.source}.safetensors"), cpu), cpu)
    state, kept = State(), SCRATCH / f"{epochs}-{rate:g}.safetensors"
    if arm != "normal":
        state = State.load(kept)
        trainer.load(state)
    row: Row = {"epochs": epochs, "rate": rate}
    if arm != "normal":
        dose = sum(
            scale * learning_rate(run, clock) for clock in clocks(run, after=state.clock) if trainer.ascends(clock)
        )
        row |= {"scale": scale, "dose": dose * len(trainer.data.train)}
    try:
        for clock in clocks(run, after=state.clock):
            trainer.begin_epoch(clock)
            losses = trainer.train_epoch(clock, lambda *_: None)
            if trainer.last_of_phase(clock):
                phase = "ascent" if trainer.ascends(clock) else "end"
                row[phase] = losses | measured(trainer, clock)
            state.clock = clock
    except Diverged as error:
        return row | {"diverged": error.place}
    if arm == "normal":
        trainer.store(state)
        state.save(kept)
    return row


def chosen_regime(rows: list[Row]) -> Row | None:
    """The smallest E at which a rate ends above 99%, and of its passing rates the best by validation images."""
    for epochs in LENGTHS:
        at = [row for row in rows if row["epochs"] == epochs and "end" in row]
        passing = [row for row in at if row["end"]["clean_accuracy"] >= TRAINED]
        if len([row for row in rows if row["epochs"] == epochs]) < len(RATES):
            return None
        if passing:
            return max(passing, key=lambda row: float(row["end"]["val_accuracy"]))
    return max(at, key=lambda row: float(row["end"]["clean_accuracy"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("regime", "ascent"))
    parser.add_argument("--out", type=Path, default=Path("expected/mini/pilot.json"))
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    params = load_params(Path("params/mini.yaml"))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Row]] = {"regime": [], "ascent": []}
    if arguments.out.exists():
        rows = json.loads(arguments.out.read_text(encoding="utf-8"))
    with ProcessPoolExecutor(arguments.workers) as pool:
        if arguments.part == "regime":
            wanted = [("normal", epochs, rate, 0.0) for epochs in LENGTHS for rate in RATES]
            done = {(row["epochs"], row["rate"]) for row in rows["regime"]}
            wanted = [each for each in wanted if each[1:3] not in done]
        else:
            regime = chosen_regime(rows["regime"])
            if regime is None:
                parser.error("no E has all its rates yet: run `regime` first")
            epochs, rate = regime["epochs"], regime["rate"]
            done = {(row["epochs"], row["rate"], row["scale"]) for row in rows["ascent"]}
            wanted = [("seal", epochs, rate, scale) for scale in SCALES if (epochs, rate, scale) not in done]
        futures = [pool.submit(trained, params, *each) for each in wanted]
        for future in as_completed(futures):
            if future.cancelled():
                continue
            row = future.result()
            rows[arguments.part].append(row)
            rows[arguments.part].sort(key=lambda each: (each["epochs"], each["rate"], each.get("scale", 0)))
            write_json(arguments.out, rows)
            print(json.dumps(row), flush=True)
            if arguments.part == "regime" and (found := chosen_regime(rows["regime"])):
                print(f"chosen: E = {found['epochs']}, learning rate {found['rate']:g}", flush=True)
                for each in futures:
                    each.cancel()


if __name__ == "__main__":
    main()
