"""Networks from elsewhere in the MLflow view: each a run under its own name, from the record of `seal evaluate`."""

import hashlib
import json
from pathlib import Path
from typing import Any

from seal.evaluations import evaluation_and_target
from seal.own_records import own_networks
from seal.run_folder import RunFolder
from seal.tracking.finished import numbers
from seal.tracking.mlflow_view import View, Written
from seal.tracking.sync import SyncOutcome

TIER = "own"  # so that its key is no run's of a study


def sync_own() -> list[SyncOutcome]:
    """Make the view of these networks equal to their record; a second call changes nothing. One that is BROKEN stays
    as it is.

    Raises UserError where the database cannot be used.
    """
    networks = own_networks()
    outcomes = [SyncOutcome(name, "BROKEN", reason) for name, reason in networks.broken.items()]
    if networks.sound:
        view = View(Path.cwd())
        outcomes += [SyncOutcome(network.name, _sync_network(view, network)) for network in networks.sound]
    return outcomes


def _sync_network(view: View, network: RunFolder) -> Written:
    values: dict[str, Any] = {}
    shown: dict[str, float] = {}
    for folder in network.evaluation_folders():
        for file in network.evaluations(folder.name).values():
            values[folder.name] = dict(file.values)
        shown |= numbers(values.get(folder.name, {}), f"final/{folder.name}/")

    text = json.dumps({"network": dict(network.summary), "values": values}, indent=1, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return view.write(facts_of(network), shown, {"network.json": text}, digest)


def facts_of(network: RunFolder) -> dict[str, Any]:
    """What the view's tags and parameters ask of any run."""
    summary = network.summary
    model = {"name": summary["model"]} | summary["options"]
    model |= {key: summary[key] for key in ("checkpoint_sha256", "size", "head", "mean", "std")}
    identity = {"tier": TIER, "run": network.name, "arm": network.name, "method": "none", "seed": "none"}
    datasets = [evaluation_and_target(folder.name)[1] for folder in network.evaluation_folders()]
    data = ", ".join(dict.fromkeys(filter(None, datasets)))
    return identity | {"data": data, "data_sha256": "in each evaluation's file", "model": model}
