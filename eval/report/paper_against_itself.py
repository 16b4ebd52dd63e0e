"""Where the paper's own numbers speak against its text; as claims.json says it, claims of one group together."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from eval.report.document import Table
from eval.report.judged import Claim


def contradictions(claims: Sequence[Claim]) -> Table:
    against = filter(itemgetter("contradiction"), claims)
    rows = []
    for (group, numbers), alike in groupby(against, key=lambda claim: (claim["group"], claim["contradiction"])):
        members = list(alike)
        says = members[0]["says"]
        if len(members) > 1:
            says = f"{group}, {len(members)} times: {', '.join(map(_name_in_group, members))}"
        rows.append([says, members[0]["place"], numbers])
    return Table("Where the paper's own numbers speak against its text", ["claim", "place", "its numbers"], rows)


def _name_in_group(claim: Claim) -> str:
    """Of `fewshot_cell.seal.eurosat` what parts it from the others of its group."""
    return " ".join(claim["id"].split(".")[1:])
