"""The stage `python -m seal.train --run <arm>-<seed>`: from a pack to the record of a training.

The loop over its epochs is loop.py's.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from seal.captured import CapturedTrainer
from seal.config import Params, load_params
from seal.data.pack import Pack
from seal.data.selection import chosen_pack
from seal.device import require_memory, torch_device
from seal.loop import train
from seal.models import is_named
from seal.progress import TrainingProgress
from seal.publish import publish, refuse
from seal.record import RESULTS, SUMMARY_SCHEMA, Row
from seal.resume import making, resume_key, starting_state
from seal.scratch import held, scratch_folder
from seal.sections import Run
from seal.stage import stage
from seal.tracking.live import Tracker
from seal.trainer import Diverged, Trainer
from seal.training_data import bytes_of, make_data

# What a training's numbers come from; dvc.yaml lists the same files, and a test compares.
CODE = [
    "seal/train.py", "seal/loop.py", "seal/trainer.py", "seal/steps.py", "seal/objective.py", "seal/phases.py",
    "seal/rows.py", "seal/checkpoint.py", "seal/resume.py", "seal/training_data.py", "seal/batchnorm.py",
    "seal/clock.py", "seal/methods", "seal/rules.py", "seal/masks.py", "seal/split.py", "seal/reinit.py",
    "seal/optim.py", "seal/kernels", "seal/models.py", "seal/networks.py", "seal/blocks.py", "seal/rng.py",
    "seal/precision.py", "seal/captured.py", "seal/data/batches.py", "seal/data/planned.py",
]  # fmt: skip


def run_stage(run_name: str, params: Params) -> tuple[float, str, str]:
    """Train a run and write its record to results/<run>/. Gives images per second, the optimizer's backend, and what
    became of the step's capture."""
    run, base, runtime = params.find_run(run_name), params.base_of(run_name), params.runtime
    pack = chosen_pack(params.source, params.datasets[params.source])
    device = torch_device(runtime)
    require_memory(device, bytes_of(pack), f"the images of {pack.path}", "free it, or train on a larger GPU")
    captured = runtime.capture == "auto" and device.type == "cuda" and not is_named(run.model)
    kind = CapturedTrainer if captured else Trainer  # what another's network does in a step nobody has looked at
    trainer = kind(run, make_data(run, pack, device), device, runtime.optimizer_backend)

    facts = facts_of(run, pack)
    folder = scratch_folder(run.name, resume_key(facts), CODE)
    with held(folder):
        state = starting_state(run, base, trainer, folder, pack.sha256)
        progress = TrainingProgress(run, len(trainer.data.train), done_epochs=len(state.rows))
        with progress, Tracker(run, facts, state.rows, enabled=runtime.track) as tracker:

            def on_epoch(row: Row) -> None:
                progress.on_epoch(row)
                progress.say_once(trainer.capture)
                tracker.on_epoch(row)

            diverged = None
            try:
                train(
                    trainer, state, folder, runtime.resume_every_epochs, progress.on_batch, on_epoch,
                    resume_minutes=runtime.resume_every_minutes, made_by=making(trainer),
                )  # fmt: skip
            except Diverged as error:
                refuse(run, state, folder, str(error))
                diverged = error.place

            publish(run, state, folder, RESULTS / run.name, facts, diverged)
            tracker.finish(RESULTS / run.name)

    return progress.rate, trainer.optimizer.backend, trainer.capture


def facts_of(run: Run, pack: Pack) -> dict[str, Any]:
    """What summary.json says of a run beside its results: parameters and data."""
    return run.facts() | {
        "schema": SUMMARY_SCHEMA,
        "run": run.name,
        "data": pack.name,
        "data_sha256": pack.sha256,
        "provenance": pack.provenance,
        "classes": len(pack.classes),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m seal.train")
    parser.add_argument("--run", required=True, metavar="ARM-SEED", help="e.g. seal-0")
    name = parser.parse_args(arguments).run
    with stage(f"train@{name}", resumes="the same command goes on from its last resume point") as timing:
        timing.unit, timing.lower = "images", "training.batch_size"
        timing.rate, timing.backend, timing.capture = run_stage(name, load_params())


if __name__ == "__main__":
    main()
