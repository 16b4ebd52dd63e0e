"""The matrix: a row for each group of claims, a column for each record, and in a cell its verdicts, counted."""

from collections import Counter
from collections.abc import Sequence

from eval.report.document import Matrix, MatrixCell
from eval.report.judged import Judged, areas
from eval.report.marks import SIGNS, leading


def matrix(records: Sequence[Judged]) -> Matrix:
    rows = []
    for area, title in areas().items():
        rows.append((f"{area} {title}", [cell(judged, area) for judged in records]))
    return Matrix([judged.tier for judged in records], rows)


def cell(judged: Judged, area: str) -> MatrixCell:
    verdicts = Counter(claim["verdict"] for claim in judged.claims_of(area))
    leads = leading(verdicts)
    count = verdicts.pop(leads)
    others = {verdict: verdicts[verdict] for verdict in SIGNS if verdicts[verdict]}
    return MatrixCell(judged.anchor(area), leads, count, others)
