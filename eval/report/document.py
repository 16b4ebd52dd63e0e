"""A document of sections, tables and figures, written as one HTML file without requests, and as Markdown.

It knows how a document looks and nothing of what it says; the sections are eval/report/page.py's.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from seal.record import atomic

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    classes: Mapping[str, str] = field(default_factory=dict)  # CSS class of every cell with that text


@dataclass(frozen=True)
class Figure:
    name: str  # of the file beside the Markdown
    caption: str
    svg: str
    alt: str

    @property
    def data(self) -> str:
        """As an address that holds the picture: several inline pictures of matplotlib would share their ids."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode()


@dataclass(frozen=True)
class Section:
    title: str
    text: Sequence[str] = ()  # paragraphs
    parts: Sequence[Table | Figure] = ()

    @property
    def anchor(self) -> str:
        return "-".join(re.findall(r"[^\W_]+", self.title.lower()))


def write_document(folder: Path, name: str, title: str, lead: Sequence[str], sections: Sequence[Section]) -> Path:
    """Write folder/<name>.html, the same as <name>.md, and the Markdown's figures in folder/figures/."""
    templates = _templates()
    for kind in ("html", "md"):
        text = templates.get_template(f"report.{kind}").render(title=title, lead=lead, sections=sections)
        _write(folder / f"{name}.{kind}", text.rstrip() + "\n")

    for figure in _figures(sections):
        _write(folder / f"figures/{figure.name}.svg", figure.svg)
    return folder / f"{name}.html"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a file that people write, as artifact.md: an empty cell is one space."""
    head = [_markdown_row(columns), f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *map(_markdown_row, rows)])


def _markdown_row(cells: Sequence[str]) -> str:
    padded = [f" {cell} " if cell else " " for cell in cells]
    return f"|{'|'.join(padded)}|"


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.tests["table"] = lambda part: isinstance(part, Table)
    templates.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    return templates


def _figures(sections: Sequence[Section]) -> Iterator[Figure]:
    for section in sections:
        for part in section.parts:
            if isinstance(part, Figure):
                yield part


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
