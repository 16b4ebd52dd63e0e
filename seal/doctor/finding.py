"""What a check found, and the table of all findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True)
class Finding:
    """What one check found. `advice` says what to do, and may be there for `ok` too."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def render(findings: Sequence[Finding]) -> None:
    """Print a table; colours only on a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("check", "", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        status = f"[{COLOURS[finding.status]}]{finding.status}[/]"
        table.add_row(escape(finding.name), status, escape(finding.found), escape(finding.advice))
    Console().print(table)
