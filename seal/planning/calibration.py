"""The machine's rates as `seal plan` takes them: measured by rates.py, and kept for an hour in scratch/.

No torch is imported where they are known.
"""

import hashlib
import json
import math
import os
import time
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from seal.config import Params
from seal.measure import Rates
from seal.planning.counts import classes
from seal.planning.machine import Machine
from seal.processor import processor
from seal.record import read_json, scratch_root, write_json

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
FRESH = 3600.0  # s; after that other work on the machine may have come or gone


def calibrate(params: Params, scratch: Path | None = None) -> Machine:
    """Measured, or as measured within the hour for the same model, batch, images, processor and versions."""
    scratch = scratch or scratch_root()
    path = scratch / "calibration.json"
    facts = json.dumps(_facts(params), sort_keys=True)
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]
    kept = known_machines(path)

    if key not in kept or time.time() - kept[key].at > FRESH:
        from seal.planning import rates

        machine = rates.measure(params, scratch)
        finite = {kind: rate for kind, rate in asdict(machine.rates).items() if math.isfinite(rate)}
        kept[key] = Known(rates=finite, start_seconds=machine.start_seconds, device=machine.device, at=time.time())
        write_json(path, KNOWN_MACHINES.dump_python(kept))

    return kept[key].machine()


class Known(BaseModel):
    """A machine as it was measured; rates that are infinite are left out."""

    model_config = ConfigDict(strict=True)
    rates: dict[str, Positive]
    start_seconds: Positive
    device: str
    at: Positive  # when, in seconds as time.time() gives them

    def machine(self) -> Machine:
        return Machine(Rates(**{"launched": math.inf} | self.rates), self.start_seconds, self.device)


KNOWN_MACHINES = TypeAdapter(dict[str, Known])  # by their facts, as the file has them


def known_machines(path: Path) -> dict[str, Known]:
    """What was measured earlier, by its facts; what cannot be read is left out, as it is measured anew."""
    try:
        kept = KNOWN_MACHINES.validate_python(read_json(path))
        for known in kept.values():
            known.machine()
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
    return kept


def _facts(params: Params) -> dict[str, Any]:
    """All that the rates depend on."""
    dataset = params.datasets[params.source]
    training = {"batch_size", "precision", "channels_last", "flip", "crop_padding"}
    runtime = {"device", "threads", "optimizer_backend"}

    return {
        "model": params.model.model_dump(),
        "image_size": dataset.image_size,
        "classes": classes(dataset),
        "training": params.training.model_dump(include=training),
        "runtime": params.runtime.model_dump(include=runtime),
        "fewshot_affines": params.fewshot_affines.model_dump(),
        "prediction_depth": params.prediction_depth.model_dump(),
        "environment": [os.environ.get("OMP_NUM_THREADS"), os.environ.get("OMP_WAIT_POLICY")],
        "fields": [field.name for field in (*fields(Machine), *fields(Rates))],
        "cpu": processor(),
        "torch": version("torch"),
    }
