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
from typing import Any

from seal.config import Params
from seal.measure import Rates
from seal.planning.counts import classes
from seal.planning.machine import Machine
from seal.record import cpu_name, read_json, write_json

FRESH = 3600.0  # s; after that other work on the machine may have come or gone


def calibrate(params: Params, scratch: Path | None = None) -> Machine:
    """Measured, or as measured within the hour for the same model, batch, images, processor and versions."""
    scratch = scratch or Path(os.environ.get("SEAL_SCRATCH", "scratch"))
    path = scratch / "calibration.json"
    facts = json.dumps(_facts(params), sort_keys=True)
    key = hashlib.sha256(facts.encode()).hexdigest()[:16]
    kept = _kept(path)

    if key not in kept or time.time() - kept[key]["at"] > FRESH:
        from seal.planning import rates

        machine = asdict(rates.measure(params, scratch))
        finite = {kind: rate for kind, rate in machine["rates"].items() if math.isfinite(rate)}
        kept[key] = machine | {"rates": finite, "at": time.time()}
        write_json(path, kept)

    values = kept[key]
    return Machine(Rates(**{"launched": math.inf} | values["rates"]), values["start_seconds"], values["device"])


def _kept(path: Path) -> dict[str, Any]:
    """What was measured earlier; nothing where that cannot be read, as it is measured anew."""
    try:
        kept = read_json(path)
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


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
        "environment": [os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")],
        "fields": [kind.name for kind in (*fields(Machine), *fields(Rates))],
        "cpu": f"{os.cpu_count()} x {cpu_name()}",
        "torch": version("torch"),
    }
