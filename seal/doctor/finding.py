"""What a check found, and the table of all findings, which `seal doctor` prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True)
class Finding:
    """What one check found. `advice` says what to do, and may be there for `ok` too."""

    name: str
    status: Literal["ok", "warn", "fail"]
    fact: str
    advice: str = ""


def render(findings: Sequence[Finding]) -> None:
    """Print a table; colours only on a terminal."""
    from rich.console import Console

    Console().print(as_table(findings))


def as_table(findings: Sequence[Finding]) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table("check", "", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        status = f"[{COLOURS[finding.status]}]{finding.status}[/]"
        table.add_row(escape(finding.name), status, escape(finding.fact), escape(finding.advice))
    return table
