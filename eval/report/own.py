"""Networks from elsewhere, as `seal evaluate` recorded them: a chapter apart, on which no verdict rests."""

from eval.report.document import Chapter, Table
from seal.own_records import OwnNetworks, own_numbers

TEXT = (
    "Networks that were trained elsewhere, seen by the same evaluations (`seal evaluate`, docs/own-network.md). No "
    "claim of the paper rests on them."
)


def own_chapter(networks: OwnNetworks) -> list[Chapter]:
    """A row for each number; no chapter without networks."""
    rows = []
    for network in networks.sound:
        for number in own_numbers(network):
            rows.append([network.name, str(network.summary["model"]), number.dataset, number.words, number.text])
    broken = [f"BROKEN, and not shown: {reason}" for reason in networks.broken.values()]
    if not rows and not broken:
        return []

    table = Table("Numbers of each network", ["network", "model", "dataset", "number", "value"], rows)
    return [Chapter("Networks of your own", "own", [TEXT, *broken], table=table)]
