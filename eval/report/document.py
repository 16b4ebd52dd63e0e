"""A document of sections, tables and figures, written as one HTML file without requests, and as Markdown."""

import base64
from collections.abc import Mapping, Sequence
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
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def write_document(folder: Path, name: str, title: str, lead: Sequence[str], sections: Sequence[Section]) -> Path:
    """Write folder/<name>.html, the same as <name>.md, and the Markdown's figures in folder/figures/."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(["html"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.tests |= {"table": lambda part: isinstance(part, Table)}
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    for kind in ("html", "md"):
        text = environment.get_template(f"report.{kind}").render(title=title, lead=lead, sections=sections)
        with atomic(folder / f"{name}.{kind}") as path:
            path.write_text(text.rstrip() + "\n", encoding="utf-8", newline="")
    for figure in (part for section in sections for part in section.parts if isinstance(part, Figure)):
        with atomic(folder / f"figures/{figure.name}.svg") as path:
            path.write_text(figure.svg, encoding="utf-8", newline="")
    return folder / f"{name}.html"
