"""Networks from elsewhere, as `seal evaluate` recorded them: a chapter apart, on which no verdict rests."""

from collections.abc import Sequence

from eval.report.document import Chapter, Table
from seal.own_records import own_numbers
from seal.runs import RunFolder

TEXT = (
    "Networks that were trained elsewhere, seen by the same evaluations (`seal evaluate`, docs/own-network.md). No "
    "claim of the paper rests on them."
)


def own_chapter(networks: Sequence[RunFolder]) -> list[Chapter]:
    """A row for each number; no chapter without networks."""
    rows = []
    for network in networks:
        for number in own_numbers(network):
            rows.append([network.name, str(network.summary["model"]), number.dataset, number.words, number.text])
    if not rows:
        return []
    table = Table("Numbers of each network", ["network", "model", "dataset", "number", "value"], rows)
    return [Chapter("Networks of your own", "own", [TEXT], table=table)]
