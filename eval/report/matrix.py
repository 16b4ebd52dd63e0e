"""The matrix: a row for each group of claims, a column for each record, and in a cell its verdicts, counted."""

from collections.abc import Sequence
from operator import itemgetter

from eval.report.document import Matrix, MatrixCell
from eval.report.judged import Judged, areas
from eval.report.marks import counts
from eval.report.verdicts import refuted_in_paper_too


def matrix(records: Sequence[Judged]) -> Matrix:
    rows, remarks = [], []
    for area, title in areas().items():
        rows.append((f"{area} {title}", [cell(judged, area) for judged in records]))
        for judged in records:
            remarks += [f"{area}, {judged.tier}: {words}" for words in refuted_in_paper_too(judged.claims_of(area))]
    return Matrix([judged.tier for judged in records], rows, remarks)


def cell(judged: Judged, area: str) -> MatrixCell:
    verdicts = map(itemgetter("verdict"), judged.claims_of(area))
    (leads, count), *others = counts(verdicts).items()
    return MatrixCell(judged.anchor(area), leads, count, dict(others))
