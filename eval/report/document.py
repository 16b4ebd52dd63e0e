"""A page as data, written as one HTML file without requests or scripts, and as Markdown in the same order.

It knows how a page looks and nothing of what it says; the content is eval/report/page.py's.
"""

import base64
import csv
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from eval.report.marks import MEANINGS, SIGNS
from eval.report.svg import inline
from seal.record import atomic

TEMPLATES = Path(__file__).parent / "templates"
WIDTH = 118  # columns of text and of padded tables in Markdown, for a terminal


@dataclass(frozen=True)
class Table:
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    name: str  # of its files beside the Markdown, and of its ids in the page
    caption: str
    svg: str
    alt: str
    points: str  # what is drawn, as CSV

    @property
    def inline(self) -> str:
        return inline(self.svg, self.name)

    @property
    def points_address(self) -> str:
        """The CSV within the page."""
        return "data:text/csv;base64," + base64.b64encode(self.points.encode()).decode()


@dataclass(frozen=True)
class VerdictRow:
    """A claim's verdict, and the numbers that it goes by."""

    anchor: str
    claim: str
    says: str
    verdict: str
    difference: str  # with its interval; empty where nothing was measured
    seeds: str
    detectable: str
    small: str  # place and reason


@dataclass(frozen=True)
class Verdicts:
    measured: Sequence[VerdictRow]
    others: Sequence[VerdictRow]


@dataclass(frozen=True)
class Section:
    """A fold of the page: a title, text, tables and figures."""

    title: str
    anchor: str
    text: Sequence[str] = ()
    parts: Sequence[Table | Figure | Verdicts] = ()
    chips: Sequence[tuple[str, str]] = ()  # a record's name, if there are several, and the verdict that leads
    sections: Sequence["Section"] = ()  # folds within
    open: bool = False


@dataclass(frozen=True)
class Told:
    """A primary claim's verdict in a sentence or two; `anchor` is where the claim stands."""

    verdict: str
    anchor: str
    subject: str
    text: str


@dataclass(frozen=True)
class MatrixCell:
    """How a record judges a group of claims."""

    anchor: str
    verdict: str  # that leads
    count: int
    others: Mapping[str, int]

    def __str__(self) -> str:
        others = [f"{SIGNS[verdict]} {count}" for verdict, count in self.others.items()]
        return " ".join([f"{SIGNS[self.verdict]} {self.count} {self.verdict}", *others])


@dataclass(frozen=True)
class Matrix:
    tiers: Sequence[str]
    rows: Sequence[tuple[str, Sequence[MatrixCell]]]

    @property
    def legend(self) -> str:
        """Signs, and what the verdicts mean."""
        marks = [f"{SIGNS[verdict]} {verdict}{meaning and f': {meaning}'}" for verdict, meaning in MEANINGS.items()]
        return f"{'; '.join(marks)}. The first of these that is there leads."

    @property
    def columns(self) -> list[str]:
        return ["claims", *self.tiers]

    @property
    def text_rows(self) -> list[list[str]]:
        return [[title, *map(str, cells)] for title, cells in self.rows]


@dataclass(frozen=True)
class Chapter:
    title: str
    anchor: str
    text: Sequence[str] = ()
    sections: Sequence[Section] = ()
    table: Table | None = None


@dataclass(frozen=True)
class Page:
    title: str
    lead: Sequence[str]
    told: Sequence[Told]
    figures: Sequence[Figure]
    others: Sequence[Section]  # sentences and figure of the other records
    matrix: Matrix  # of all records
    chapters: Sequence[Chapter]


def write_page(folder: Path, page: Page) -> Path:
    """Write report.html; report.md with its figures and their points in figures/; and findings.md, the sentences and
    the matrix alone. Gives the HTML file's path."""
    templates = _templates()
    for name in ("report.html", "report.md", "findings.md"):
        text = templates.get_template(name).render(page=page)
        _write(folder / name, text.rstrip() + "\n")

    for figure in figures_of(page):
        _write(folder / f"figures/{figure.name}.svg", figure.svg)
        _write(folder / f"figures/{figure.name}.csv", figure.points)
    return folder / "report.html"


def write_sections(path: Path, title: str, lead: Sequence[str], sections: Sequence[Section]) -> None:
    """A page of sections alone, as HTML."""
    _write(path, _templates().get_template("plain.html").render(title=title, lead=lead, sections=sections))


def figures_of(page: Page) -> Iterator[Figure]:
    yield from page.figures
    sections = [*page.others]
    for chapter in page.chapters:
        sections += chapter.sections

    while sections:
        section = sections.pop(0)
        sections += section.sections
        for part in section.parts:
            if isinstance(part, Figure):
                yield part


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a file that people write, as artifact.md: an empty cell is one space."""
    head = [_markdown_row(columns), f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *map(_markdown_row, rows)])


def _markdown_row(cells: Sequence[str]) -> str:
    padded = [f" {cell} " if cell else " " for cell in cells]
    return f"|{'|'.join(padded)}|"


def padded(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same for a terminal: columns stand below one another, unless that is too wide for one."""
    escaped = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 > WIDTH:
        return markdown(escaped[0], escaped[1:])

    lines = []
    for row in escaped:
        cells = map(str.ljust, row, widths)
        lines.append(f"| {' | '.join(cells)} |")
    ruler = "-|-".join("-" * width for width in widths)
    return "\n".join([lines[0], f"|-{ruler}-|", *lines[1:]])


def wrapped(text: str, indent: str = "") -> str:
    """A paragraph in lines of a terminal's width; lines after the first are indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for kind in (Table, Figure, Verdicts):
        templates.tests[kind.__name__.lower()] = lambda part, kind=kind: isinstance(part, kind)
    templates.filters |= {"sign": SIGNS.__getitem__, "padded": padded, "wrapped": wrapped}
    return templates


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
