"""The pilot of the study in the paper's regime: length, decay and S, by the rules of expected/regime/PROTOCOL.md.

    nice -n 19 python benchmarks/regime_pilot.py [--out expected/regime/pilot.json] [--workers 1]

A trial is one arm's training at a cell (E, D), from the cell's generation 1 where it shares that. Training and
validation images alone are looked at. What is measured stays in the file as it was first measured; a trial that is
interrupted goes on from its last kept epoch, in scratch/. A generation 1 that scratch/ no longer has is trained again,
for its later trials to go on from: on another processor to other bits. Each worker takes one thread.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from eval.claims.claim_list import load_claims
from seal.checkpoint import State
from seal.clock import course_of, learning_rate
from seal.data.pack import PACKS, open_pack
from seal.methods.paper import Ascent
from seal.phases import phase_of
from seal.processor import cpu_name
from seal.record import ROUNDING, write_json
from seal.resume import shares_generation_1
from seal.rows import measure_clean, measure_validation
from seal.sections import BASE_ARM, Run
from seal.tiers import tier_params
from seal.trainer import Diverged, Trainer
from seal.training_data import make_data

LENGTHS, RENEWALS = (240, 160, 80), (1.25, 0.4, 0.15)
SCALES = (0.003, 0.01, 0.03, 0.1, 0.3)
LONGER, SMALLER, LARGER = 320, (0.005, 0.0075), (0.012, 0.015)  # where 0.01 fails in generation 3, by R3 or by R2
LLF_CHOICES = (
    *({"layer_threshold": threshold} for threshold in ("layer2", "layer3", "layer4", "fc")),
    {"reinitialiser": "kaiming_uniform"},
)
NORMAL_LONG_CHOICES = (
    {}, {"schedule": "one_cosine"}, {"decay_factor": 0.5}, {"decay_factor": 2.0},
    {"schedule": "one_cosine", "decay_factor": 0.5},
)  # fmt: skip
SEED, SECOND_SEED = 1000, 1001
CORE_HOURS, CUT_OFF = 12.0, 1.3  # of them spent by trials that were cut off, in no row
KEPT_EVERY = 20  # epochs
CHANCE = 1 / 20
CONDITIONS = load_claims().conditions_of("regime")
SCRATCH = Path("scratch/regime_pilot")
CPU = torch.device("cpu")

Row = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """An arm with some of its numbers changed, at a cell, to the end of `generation`."""

    epochs: int  # E
    renewals: float  # D
    seed: int
    arm: str
    changes: tuple[tuple[str, Any], ...] = ()
    generation: int = 2

    @property
    def name(self) -> str:
        """Of what is trained, however far."""
        changes = "".join(f"-{key}={value}" for key, value in self.changes)
        return f"{self.arm}{changes}-{self.seed}-E{self.epochs}-D{self.renewals:g}"

    @property
    def base(self) -> "Trial":
        """Generation 1 of its cell."""
        return Trial(self.epochs, self.renewals, self.seed, BASE_ARM, generation=1)


def seal_at(cell: Trial, scale: float, generation: int = 2) -> Trial:
    return replace(cell, arm="seal", changes=(("ascent_lr_scale", scale),), generation=generation)


def run_of(trial: Trial, batches: int) -> Run:
    """The tier's run with the trial's length, decay and changes; `batches` an epoch."""
    run, changes = tier_params("regime").run(trial.arm, trial.seed), dict(trial.changes)
    factor = changes.pop("decay_factor", 1.0)

    training = run.training.model_copy(update={"epochs_per_generation": trial.epochs})
    options = run.options
    if isinstance(options, Ascent):
        options = replace(options, ascent_epochs=trial.epochs // 4, ascent_lr_scale=changes.pop("ascent_lr_scale"))
    generations = run.generations.model_copy(update={"num_generations": trial.generation} | changes)
    run = run.model_copy(update={"training": training, "generations": generations, "options": options})

    restarting = run.model_copy(update={"generations": generations.model_copy(update={"schedule": "per_generation"})})
    area = batches * sum(
        learning_rate(restarting, clock) for clock in course_of(restarting).clocks() if clock.generation == 1
    )
    decayed = training.model_copy(update={"weight_decay": factor * trial.renewals / area})
    return run.model_copy(update={"training": decayed})


def train(trial: Trial) -> Row:
    """Train and measure what lacks up to the trial's generation; gives the trial's whole row."""
    torch.set_num_threads(1)
    began = time.process_time()
    pack = open_pack(PACKS / f"{tier_params('regime').source}.safetensors")
    batches = math.ceil(len(pack["train"].labels) / tier_params("regime").training.batch_size)

    run, base = run_of(trial, batches), run_of(trial.base, batches)
    trainer = Trainer(run, make_data(run, pack, CPU), CPU)
    state = begun(trial, shares_generation_1(run, base, trainer))
    if state.model:
        state.put(trainer.model, trainer.optimizer, trainer.names)

    diverged = None
    try:
        for clock in trainer.course.clocks(after=state.clock):
            rules = trainer.begin_epoch(clock)
            losses = trainer.train_epoch(clock, lambda *_: None)
            if trainer.phases.ends(clock):
                when = "ascent" if phase_of(rules) == "ascent" else "end"
                seen = losses | measure_clean(trainer, clock)
                seen["val_accuracy"] = measure_validation(trainer)["val_accuracy"]
                state.generations.append({"generation": clock.generation, "when": when} | seen)

            if clock.epoch % KEPT_EVERY == KEPT_EVERY - 1 or trainer.phases.ends_generation(clock):
                state.clock = clock
                state.take(trainer.model, trainer.optimizer, trainer.names)
                state.save(SCRATCH / f"{trial.name}.safetensors")
    except Diverged as error:
        diverged = error.place

    return {
        "name": trial.name, "epochs": trial.epochs, "renewals": trial.renewals, "seed": trial.seed, "arm": trial.arm,
        "changes": dict(trial.changes), "generation": trial.generation, "diverged": diverged,
        "core_seconds": round(time.process_time() - began), "processors": [cpu_name()],
        "measured": state.generations, **doses(run, trainer),
    }  # fmt: skip


def begun(trial: Trial, shares: bool) -> State:
    """The trial's own state, else its cell's generation 1 where it shares that, else none."""
    own = SCRATCH / f"{trial.name}.safetensors"
    if own.exists():
        return State.load(own)
    if trial.arm != BASE_ARM and shares:
        return replace(State.load(SCRATCH / f"{trial.base.name}.safetensors"), generations=[])
    return State()


def doses(run: Run, trainer: Trainer) -> Row:
    """Of one later generation: the ascent's dose, how often decay renews the early side; and a step's angle."""
    batches, dose, early = len(trainer.data.train), 0.0, 0.0
    for clock in trainer.course.clocks():
        if clock.generation != run.generations.num_generations:
            continue
        rule, rate = trainer.method.rules(clock)["early"], learning_rate(run, clock)
        dose += batches * rate * rule.lr_scale * rule.maximize
        early += batches * rate * rule.lr_scale * rule.weight_decay

    decay = run.training.weight_decay
    angle = math.sqrt(2 * run.training.learning_rate * decay)
    return {"weight_decay": decay, "dose": dose, "early_renewals": early, "angle": angle}


class Rows:
    """What has been measured, kept in a file."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.rows: dict[str, Row] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}

    def add(self, row: Row) -> None:
        before = self.rows.get(row["name"], {"measured": [], "core_seconds": 0, "processors": []})
        known = {(seen["generation"], seen["when"]) for seen in before["measured"]}
        added = [seen for seen in row["measured"] if (seen["generation"], seen["when"]) not in known]
        self.rows[row["name"]] = row | {
            "measured": before["measured"] + added,
            "core_seconds": before["core_seconds"] + row["core_seconds"],
            "processors": sorted({*before["processors"], *row["processors"]}),
        }
        write_json(self.out, self.rows)

    def has(self, trial: Trial) -> bool:
        row = self.rows.get(trial.name)
        return row is not None and (row["diverged"] is not None or row["generation"] >= trial.generation)

    def seen(self, trial: Trial, generation: int, when: str) -> Row | None:
        measured = self.rows.get(trial.name, {"measured": []})["measured"]
        at = [row for row in measured if (row["generation"], row["when"]) == (generation, when)]
        return at[0] if at else None

    @property
    def core_hours(self) -> float:
        return float(CUT_OFF + sum(row["core_seconds"] for row in self.rows.values()) / 3600)

    def fits(self, cell: Trial) -> bool:
        """R1, of generation 1."""
        end = self.seen(cell.base, 1, "end")
        return end is not None and 100 * end["clean_accuracy"] >= CONDITIONS["R1"].threshold - ROUNDING

    def remembered(self, trial: Trial, generation: int) -> float:
        """R2 in that generation: what the ascent leaves of what was known beyond chance, over what it may leave."""
        earlier = trial.base if generation == 2 else trial
        before, after = self.seen(earlier, generation - 1, "end"), self.seen(trial, generation, "ascent")
        if before is None or after is None:
            return math.inf
        known = before["clean_accuracy_batch_statistics"] - CHANCE
        return float((after["clean_accuracy_batch_statistics"] - CHANCE) / known / CONDITIONS["R2"].threshold)

    def forgets(self, trial: Trial) -> bool:
        """R2 in generation 2, or more than that: a loss that overflowed."""
        return self.rows[trial.name]["diverged"] is not None or self.remembered(trial, 2) <= 1 + ROUNDING

    def recovers(self, trial: Trial) -> bool:
        """R3 in generation 2."""
        return self.rows[trial.name]["diverged"] is None and self.lost(trial, 2) <= 1 + ROUNDING

    def lost(self, trial: Trial, generation: int) -> float:
        """R3 in that generation: what lacks of generation 1's accuracy, or the loss beyond its, over what may be so,
        whichever is more."""
        first, end = self.seen(trial.base, 1, "end"), self.seen(trial, generation, "end")
        if first is None or end is None:
            return math.inf

        condition = CONDITIONS["R3"]
        assert condition.loss is not None
        of_accuracy = 100 * (first["clean_accuracy"] - end["clean_accuracy"]) / condition.threshold
        return float(max(of_accuracy, 100 * (end["clean_loss"] / first["clean_loss"] - 1) / condition.loss))

    def roomiest_scale(self, cell: Trial) -> float | None:
        """S*: of those with R2 and R3 in generation 2, and in generation 3 where that was run, the one that stays
        farthest from both bounds."""
        strains: dict[float, float] = {}
        for scale in (*SCALES, 1.0, *SMALLER, *LARGER):
            trial = seal_at(cell, scale)
            later = [generation for generation in (2, 3) if self.seen(trial, generation, "end")]
            if later and self.rows[trial.name]["diverged"] is None:
                strains[scale] = max(max(self.remembered(trial, number), self.lost(trial, number)) for number in later)

        scale = min(strains, key=strains.__getitem__, default=None)
        return scale if scale is not None and strains[scale] <= 1 + ROUNDING else None

    def grid(self, cell: Trial) -> list[Trial]:
        """SEAL at each S; 1 too where 0.3 does not forget."""
        trials = [seal_at(cell, scale) for scale in SCALES]
        if self.has(trials[-1]) and not self.forgets(trials[-1]):
            trials.append(seal_at(cell, 1.0))
        return trials

    def chosen(self) -> tuple[Trial, float] | None:
        """The cell with D nearest 1.25 whose R1 to R3 hold for some S, the longest of the grid first; and S*."""
        for renewals in RENEWALS:
            for epochs in (*LENGTHS, LONGER):
                cell = Trial(epochs, renewals, SEED, BASE_ARM)
                if self.fits(cell) and (scale := self.roomiest_scale(cell)) is not None:
                    return cell, scale
        return None


def wanted(rows: Rows) -> Iterator[Trial]:
    """The trials that the protocol asks for, in its order, as far as what is measured tells."""
    cells = [Trial(epochs, renewals, SEED, BASE_ARM) for epochs in LENGTHS for renewals in RENEWALS]
    first = cells[0]
    yield first.base
    for trial in rows.grid(first) if rows.fits(first) else ():
        if rows.chosen():
            break
        yield trial
    yield from instead(rows, first)

    if rows.chosen() is None:
        yield from (cell.base for cell in cells)
        yield from grids_until_a_choice(rows, cells)

    choice = rows.chosen()
    if choice is None:
        return
    cell, scale = choice
    yield from judged(cell, scale)
    yield from rows.grid(cell)

    yield from (replace(cell, arm="llf", changes=(*changes.items(),)) for changes in LLF_CHOICES)
    yield from (replace(cell, arm="normal_long", changes=(*changes.items(),)) for changes in NORMAL_LONG_CHOICES)

    for renewals in RENEWALS:
        other = replace(cell, renewals=renewals)
        yield other.base
        if rows.fits(other):
            yield from as_far_as_it_forgets(rows, other)
    yield from (other.base for other in cells)


def as_far_as_it_forgets(rows: Rows, cell: Trial) -> Iterator[Trial]:
    """SEAL at S from the grid's largest down to the first that recovers and does not forget: no smaller one does."""
    for trial in reversed(rows.grid(cell)):
        yield trial
        if not rows.has(trial):
            return
        if rows.recovers(trial) and not rows.forgets(trial):
            return


def grids_until_a_choice(rows: Rows, cells: list[Trial]) -> Iterator[Trial]:
    """Every S at the cells that fit, by D and of a D the longest first."""
    for renewals in RENEWALS:
        for cell in cells:
            if cell.renewals == renewals and rows.fits(cell) and rows.chosen() is None:
                yield from rows.grid(cell)


def instead(rows: Rows, cell: Trial) -> Iterator[Trial]:
    """Where S = 0.01, which held in generation 2, does not in generation 3: an S beside it; and where that does not
    either, a longer generation with S from 0.01 down."""
    failed = seal_at(cell, 0.01, generation=3)
    if not rows.has(failed):
        return

    beside = SMALLER if rows.remembered(failed, 3) <= 1 + ROUNDING else LARGER
    yield from (seal_at(cell, scale, 3) for scale in beside)
    choice = rows.chosen()
    if choice is None or choice[0].epochs == LONGER:
        longer = replace(cell, epochs=LONGER)
        yield longer.base
        yield from (seal_at(longer, scale, 3) for scale in (0.01, *reversed(SMALLER)))


def judged(cell: Trial, scale: float) -> Iterator[Trial]:
    """What says whether the cell and S* can be the study's: generation 3, the other seed, and Normal (long) beside."""
    yield seal_at(cell, scale, generation=3)
    yield replace(cell, arm="normal_long", generation=3)

    second = replace(cell, seed=SECOND_SEED)
    yield second.base
    yield seal_at(second, scale, generation=3)
    yield replace(second, arm="normal_long", generation=3)

    smaller, larger = [near for near in SCALES if near < scale], [near for near in SCALES if near > scale]
    yield from (seal_at(second, near) for near in (*smaller[-1:], *larger[:1]))


def next_trial(rows: Rows, under_way: set[str]) -> Trial | None:
    """The first that lacks, that no worker has, and whose generation 1 is there to go on from."""
    for trial in wanted(rows):
        if rows.has(trial) or trial.name in under_way:
            continue
        if trial == trial.base or is_whole(trial.base):
            return trial
        if trial.base.name not in under_way:
            return trial.base
    return None


def is_whole(base: Trial) -> bool:
    """Whether the state that is kept of it is that of its end."""
    path = SCRATCH / f"{base.name}.safetensors"
    clock = State.load(path).clock if path.exists() else None
    return clock is not None and clock.epoch == base.epochs - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("expected/regime/pilot.json"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    SCRATCH.mkdir(parents=True, exist_ok=True)

    rows = Rows(arguments.out)
    under_way: dict[Future[Row], str] = {}
    with ProcessPoolExecutor(arguments.workers) as pool:
        submit = partial(pool.submit, train)
        while True:
            while len(under_way) < arguments.workers and rows.core_hours < CORE_HOURS:
                trial = next_trial(rows, {*under_way.values()})
                if trial is None:
                    break
                under_way[submit(trial)] = trial.name

            if not under_way:
                break
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                del under_way[future]
                rows.add(future.result())
                print(json.dumps(future.result()), flush=True)

    lacking = [trial.name for trial in wanted(rows) if not rows.has(trial)]
    print(f"{rows.core_hours:.1f} core-hours; chosen: {rows.chosen()}; not run: {', '.join(lacking) or 'nothing'}")


if __name__ == "__main__":
    main()
