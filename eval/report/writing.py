"""Writes a page as one HTML file without requests or scripts, and as Markdown in the same order.

It knows how a page looks, by templates/, and nothing of what it says.
"""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from eval.report.document import Figure, Page, Section, Table, Verdicts
from eval.report.marks import SIGNS
from seal.record import atomic

TEMPLATES = Path(__file__).parent / "templates"
WIDTH = 118  # columns of text and of padded tables in Markdown, for a terminal


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


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a file that people write, as artifact.md: an empty cell is one space."""
    head = [_markdown_row(columns), f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *map(_markdown_row, rows)])


def _markdown_row(cells: Sequence[str]) -> str:
    padded = [f" {cell} " if cell else " " for cell in cells]
    return f"|{'|'.join(padded)}|"


def padded(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same for a terminal: columns stand below one another, unless that is too wide for one."""
    escaped = [[*map(_escaped, row)] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 > WIDTH:
        return markdown(escaped[0], escaped[1:])

    lines = []
    for row in escaped:
        cells = map(str.ljust, row, widths)
        lines.append(f"| {' | '.join(cells)} |")
    ruler = "-|-".join("-" * width for width in widths)
    return "\n".join([lines[0], f"|-{ruler}-|", *lines[1:]])


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


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
