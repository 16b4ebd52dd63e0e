"""The whole MLflow view from the record: every run, each arm over its seeds, and networks from elsewhere."""

from seal.config import load_params
from seal.record import RESULTS, TIMINGS
from seal.stage_names import asked_stages
from seal.tracking.arms import sync_aggregates
from seal.tracking.own import sync_own
from seal.tracking.sync import SyncOutcome, sync


def sync_all() -> list[SyncOutcome]:
    """Make the view of all that params.yaml names equal to its record; what is there already stays."""
    asked = asked_stages(load_params())
    return [*sync(asked, RESULTS, TIMINGS), *sync_aggregates(asked), *sync_own()]
