"""Where a training begins: where it was interrupted, where the base stage's generation 1 ended, or at nothing."""

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from seal.checkpoint import HANDOVER, RESUME, CheckpointError, State, fits
from seal.clock import Clock, course_of
from seal.device import device_words
from seal.evidence import read_summary
from seal.phases import may_share_generation_1
from seal.record import RESULTS, atomic
from seal.sections import BASE_ARM, Run
from seal.trainer import Trainer

# Facts that change nothing of what is there already: a record's origin, what is kept of it, where a divergence leads.
FREE = {"tier", "provenance"}
FREE_GENERATIONS = {"kept_generations", "on_divergence"}
MIXED_THREADS = "SEAL_MIXED_THREADS"


def starting_state(run: Run, base: Run, trainer: Trainer, folder: Path, data_sha256: str) -> State:
    """The run's own resume state, else generation 1 as the base stage has trained it, else nothing yet.

    `data_sha256`: of the pack. Raises CheckpointError for a resume state that was made in another way or elsewhere, and
    for a generation 1 of other images.
    """
    if (folder / RESUME).exists():
        return _interrupted(run, trainer, folder / RESUME)

    state = State()
    if run.arm != BASE_ARM and shares_generation_1(run, base, trainer):
        state = _handed_over(base, trainer, folder, data_sha256)
        if trainer.method.looks_back:
            state.previous = state.copied()
    else:
        state.take(trainer.model, trainer.optimizer, trainer.names)
    state.run, state.threads = run.name, torch.get_num_threads()
    return state


def _interrupted(run: Run, trainer: Trainer, path: Path) -> State:
    """The run's own state. Raises CheckpointError for another run's, or one that this training cannot go on from."""
    state, threads = State.load(path), torch.get_num_threads()
    if state.run not in (None, run.name):
        raise CheckpointError(f"{path}: found the resume state of {state.run}, expected {run.name}'s; delete it")
    fits(state.model, trainer.model.state_dict(), path, recorded=False)
    require_same_making(path, state, making(trainer))

    on_cpu = trainer.device.type == "cpu"
    if on_cpu and state.threads not in (None, threads) and os.environ.get(MIXED_THREADS) != "1":
        raise CheckpointError(
            f"{path}: was trained with {state.threads} threads and would go on with {threads}, whose sums round "
            f"otherwise; set runtime.threads (or OMP_NUM_THREADS) to {state.threads}, or {MIXED_THREADS}=1 to mix them"
        )
    return state


def making(trainer: Trainer) -> dict[str, Any]:
    """By what and where a training computes: what a resume state says, and what the next process must be equal in.

    How it computes, its precision and memory layout, are facts of the run, by which its scratch folder is named.
    """
    trainer.optimizer.refresh()  # names the backend
    return {
        "device": device_words(trainer.device),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "torch": str(torch.__version__),
        "optimizer_backend": trainer.optimizer.backend,
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
    possible = may_share_generation_1(run, base, trainer.phases)
    return possible and not any(_touches(trainer, clock) for clock in course_of(base).clocks())


def _touches(trainer: Trainer, clock: Clock) -> bool:
    """Whether the method forgets or masks anything in an epoch of which it knows nothing yet."""
    method, network = trainer.method, trainer.view(clock, State())
    return bool(method.forget(clock, network)) or bool(method.alive(clock, network))


def resume_key(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts that a resume state depends on. Raising the number of generations goes on from the last one where the
    schedule allows it."""
    free = set(FREE_GENERATIONS)
    if facts["generations"]["schedule"] == "per_generation":
        free.add("num_generations")

    key = _without(facts, FREE)
    key["generations"] = _without(facts["generations"], free)
    return key


def _without(facts: dict[str, Any], free: set[str]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name not in free}


def _handed_over(base: Run, trainer: Trainer, folder: Path, data_sha256: str) -> State:
    """The end of the base run's generation 1; its weights and predictions become this run's.

    Raises CheckpointError where the handover is not what the base run's record beside it tells, or that is of other
    images than the pack.
    """
    source = RESULTS / base.name
    state, summary = State.load(source / HANDOVER), read_summary(source / "summary.json")
    fits(state.model, trainer.model.state_dict(), source / HANDOVER)

    if state.generations != summary["outcomes"]:
        raise CheckpointError(
            f"{source / HANDOVER}: not the end of {base.name}, whose summary.json lies beside it; "
            f"`dvc checkout` or `dvc repro base@{base.seed}` restores it"
        )
    if summary["data_sha256"] != data_sha256:
        raise CheckpointError(
            f"{source}: generation 1 was trained on images of sha256 {summary['data_sha256'][:12]}..., the pack has "
            f"{data_sha256[:12]}...; `dvc repro base@{base.seed}` trains it anew, `dvc checkout` brings its images back"
        )

    for name in ("weights/gen-01.safetensors", "predictions/gen-01.npz"):
        with atomic(folder / name) as temporary:
            shutil.copyfile(source / name, temporary)
    return state
