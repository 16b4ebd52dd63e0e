"""Where a training begins: where it was interrupted, where the base stage's generation 1 ended, or at nothing."""

import shutil
from pathlib import Path
from typing import Any

import torch

from seal.checkpoint import HANDOVER, RESUME, CheckpointError, State
from seal.clock import Clock, clocks, course_of
from seal.config import BASE_ARM, BASE_KEYS, Run
from seal.device import device_words
from seal.record import RESULTS
from seal.trainer import Trainer

# Facts that change nothing of what is there already: a record's origin, what is kept of it, where a divergence leads.
FREE = {"tier", "provenance"}
FREE_GENERATIONS = {"kept_generations", "on_divergence"}


def starting_state(run: Run, base: Run, trainer: Trainer, folder: Path) -> State:
    """The run's own resume state, else generation 1 as the base stage has trained it, else nothing yet.

    Raises CheckpointError for a resume state that was made in another way or elsewhere.
    """
    if (folder / RESUME).exists():
        state = State.load(folder / RESUME)
        require_same_making(folder / RESUME, state, making(trainer))
        return state
    if run.arm != BASE_ARM and shares_generation_1(run, base, trainer):
        state = _handed_over(RESULTS / base.name, folder)
        if trainer.method.looks_back:
            state.previous = state.copied()
        return state

    state = State()
    state.take(trainer.model, trainer.optimizer, trainer.names)
    return state


def making(trainer: Trainer) -> dict[str, Any]:
    """How and where a training computes: what a resume state says, and what the next process must be equal in."""
    training = trainer.run.training
    return {
        "device": device_words(trainer.device),
        "precision": training.precision,
        "channels_last": training.channels_last,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def require_same_making(path: Path, state: State, here: dict[str, Any]) -> None:
    """Raises CheckpointError where the state says another thing: a training of two halves would be neither's."""
    for name, value in here.items():
        if state.made_by is not None and state.made_by.get(name, value) != value:
            raise CheckpointError(
                f"{path}: found a state made by {name} {state.made_by[name]}, expected {value} as here; go on there, "
                "or delete it to begin anew"
            )


def shares_generation_1(run: Run, base: Run, trainer: Trainer) -> bool:
    """Whether the run's first generation is, rule by rule, the one that the base stage has trained and recorded."""
    kept = all(getattr(run.generations, key) == getattr(base.generations, key) for key in BASE_KEYS)
    return (
        kept
        and (run.model, run.training) == (base.model, base.training)
        and trainer.phases.first_generation_is_that_of(course_of(base))
        and not any(_touches(trainer, clock) for clock in clocks(base))
    )


def _touches(trainer: Trainer, clock: Clock) -> bool:
    """Whether the method forgets or masks anything in an epoch of which it knows nothing yet."""
    method, network = trainer.method, trainer.network(clock, State())
    return bool(method.forget(clock, network)) or bool(method.alive(clock, network))


def resume_key(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that a resume state depends on. Raising the number of generations goes on from the last one where the
    schedule allows it."""
    free = set(FREE_GENERATIONS)
    if facts["generations"]["schedule"] == "per_generation":
        free.add("num_generations")

    key = {name: value for name, value in facts.items() if name not in FREE}
    key["generations"] = {name: value for name, value in facts["generations"].items() if name not in free}
    return key


def _handed_over(source: Path, folder: Path) -> State:
    """The end of the base run's generation 1; its weights and predictions become this run's."""
    state = State.load(source / HANDOVER)
    for name in ("weights/gen-01.safetensors", "predictions/gen-01.npz"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    return state
