"""A page as data: sections, tables, figures, verdicts. eval/report/page.py says what it holds, writing.py writes it."""

import base64
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eval.report.marks import MEANINGS, SIGNS
from eval.report.svg import inline


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
        counts = {self.verdict: self.count, **self.others}
        return " ".join(f"{SIGNS[verdict]}{count}" for verdict, count in counts.items())


@dataclass(frozen=True)
class Matrix:
    tiers: Sequence[str]
    rows: Sequence[tuple[str, Sequence[MatrixCell]]]
    remarks: Sequence[str] = ()

    @property
    def legend(self) -> str:
        """Signs, what the verdicts mean, and remarks on some of them."""
        marks = []
        for verdict, meaning in MEANINGS.items():
            mark = f"{SIGNS[verdict]} {verdict}"
            marks.append(f"{mark}: {meaning}" if meaning else mark)
        return " ".join([f"{'; '.join(marks)}. The first of these that is there leads.", *self.remarks])

    @property
    def columns(self) -> list[str]:
        return ["claims", *self.tiers]

    @property
    def text_rows(self) -> list[list[str]]:
        """In few columns of a terminal: signs alone, and of a title what stands before the place in the paper."""
        rows = []
        for title, cells in self.rows:
            rows.append([title.partition(",")[0], *map(str, cells)])
        return rows


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


def not_empty(parts: Iterable[Table | Figure]) -> list[Table | Figure]:
    """The same without tables that have no row."""
    return [part for part in parts if isinstance(part, Figure) or part.rows]


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
