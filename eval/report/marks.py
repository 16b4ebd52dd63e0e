"""How a verdict is shown: its sign, its colour in figures, and which of several leads. A page's colours are its style
sheet's."""

from collections import Counter
from collections.abc import Iterable

# The first that is there leads; signs are for eyes that do not tell the colours apart.
SIGNS = {
    "REFUTED": "✗", "NOT-COMPARABLE": "≠", "INCONCLUSIVE": "?", "WEAK": "~", "SUPPORTED": "✓", "NOT-RUN": "○",
    "SKIPPED-DATA": "∅",
}  # fmt: skip
MEANINGS = {
    "REFUTED": "the interval lies wholly on the other side", "NOT-COMPARABLE": "not the paper's setting, as named",
    "INCONCLUSIVE": "the sign is not as claimed, and may be noise", "WEAK": "the sign is as claimed, and may be noise",
    "SUPPORTED": "the interval lies wholly on the claimed side", "NOT-RUN": "", "SKIPPED-DATA": "",
}  # fmt: skip
COLOURS = {
    "REFUTED": "#D55E00", "NOT-COMPARABLE": "#7f868c", "INCONCLUSIVE": "#B8860B", "WEAK": "#56B4E9",
    "SUPPORTED": "#009E73", "NOT-RUN": "#7f868c", "SKIPPED-DATA": "#7f868c",
}  # fmt: skip


def counts(verdicts: Iterable[str]) -> dict[str, int]:
    """How many there are of each verdict, in the order in which they lead."""
    unordered = Counter(verdicts)
    return {verdict: unordered[verdict] for verdict in SIGNS if verdict in unordered}


def leading(verdicts: Iterable[str]) -> str:
    return next(iter(counts(verdicts)))


def counted(verdicts: Iterable[str]) -> str:
    """As in "5 REFUTED, 7 SUPPORTED"."""
    return ", ".join(f"{count} {verdict}" for verdict, count in counts(verdicts).items())
