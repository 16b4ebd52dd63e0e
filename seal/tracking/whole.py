"""The whole MLflow view from the record: every run, each arm over its seeds, and networks from elsewhere."""

from seal.config import load_params
from seal.record import RESULTS, TIMINGS
from seal.tracking.arms import sync_aggregates
from seal.tracking.own import sync_own
from seal.tracking.sync import SyncOutcome, sync


def sync_all() -> list[SyncOutcome]:
    """Make the view of all that params.yaml names equal to its record; what is there already stays."""
    names = load_params().run_names()
    return [*sync(names, RESULTS, TIMINGS), *sync_aggregates(names), *sync_own()]
