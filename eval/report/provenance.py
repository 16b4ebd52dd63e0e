"""Where a report's numbers come from: the images that the networks were trained on."""

from markupsafe import Markup

from eval.report.document import Table
from seal.record import SHEETS
from seal.runs import RunFolder, Runs

# Of a user's own images, seen from the report's folder.
SHEET = Markup('{0} (<a href="../{1}.png">contact sheet</a>, which seal data {0} writes)')


def provenance(runs: Runs) -> Table:
    """A row for each pack that a network was trained on."""
    rows = {run.summary["data"]: _pack(run) for run in runs}
    columns = ["pack", "archives", "licence", "sha256"]
    return Table("Images that the networks were trained on", columns, [*rows.values()])


def _pack(run: RunFolder) -> list[str]:
    origin = run.summary["provenance"]
    archives = []
    for archive in origin.get("archives", []):
        archives.append(archive["name"] if archive["official"] else f"{archive['name']} (not the official checksum)")

    name = run.summary["data"]
    if origin.get("source") == "folder":
        name = SHEET.format(name, (SHEETS / name).as_posix())

    licence = str(origin.get("licence", "not recorded"))
    return [name, ", ".join(archives), licence, run.summary["data_sha256"][:16]]
