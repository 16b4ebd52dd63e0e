"""How the report's figures look: an arm's name and style, axes, and the SVG text of a figure, equal for equal data.

A file's figure has a white ground, so that it can be read anywhere.
"""

import re
from collections.abc import Iterable
from io import StringIO
from itertools import cycle, product
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eval.claims.own_best import arm_of_best

# Okabe and Ito's palette (2008), and a dash and a mark of its own for each arm, for print in black and white.
STYLES = {
    "normal": ("#000000", "-", "o"), "normal_long": ("#E69F00", "--", "s"), "normal_long_cosine": ("#56B4E9", ":", "D"),
    "llf": ("#D55E00", "-.", "^"), "seal": ("#0072B2", "-", "v"), "seal_s0": ("#009E73", "--", "P"),
    "seal_freeze": ("#CC79A7", "--", "x"), "seal_reinit": ("#009E73", ":", "D"), "seal_reverse": ("#D55E00", "-.", "s"),
}  # fmt: skip
OTHERS = ("#CC79A7", "#8A6BBF", "#7F868C")
LABELS = {
    "normal": "Normal", "normal_long": "Normal (long)", "normal_long_cosine": "Normal (long), one cosine",
    "llf": "LLF", "seal": "SEAL", "seal_s0": "SEAL, S = 0", "seal_freeze": "freeze", "seal_reinit": "reinit",
    "seal_reverse": "reverse",
}  # fmt: skip
TOP, GAP = 0.35, 0.6  # inches, above the first row of axes and between rows
GRID = "#b0b5ba"
LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")


def label(arm: str) -> str:
    """An arm's name as the tables show it."""
    method = arm_of_best(arm)
    return LABELS.get(arm, arm) if method == arm else f"{LABELS.get(method, method)} at its best"


def styles(arms: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Each arm's colour, dash and mark; arms without a colour of their own differ in the others."""
    others = zip(cycle(product(("-", "--", ":"), OTHERS)), cycle("x+*12348"))
    chosen = {}
    for arm in arms:
        if arm in STYLES:
            colour, dash, mark = STYLES[arm]
        else:
            (dash, colour), mark = next(others)
        chosen[arm] = {"color": colour, "linestyle": dash, "marker": mark, "markersize": 4, "linewidth": 1.6}
    return chosen


def framed(
    inches: tuple[float, float],
    rows: int = 1,
    columns: int = 1,
    *,
    left: float = 0.7,
    bottom: float = 0.6,
    space: float = 0.12,
    **grid: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row, within margins in inches: matplotlib's own layouts draw everything twice."""
    width, height = inches
    figure = Figure(figsize=inches)
    axes = figure.subplots(rows, columns, squeeze=False, **grid).ravel().tolist()
    axes_height = (height - bottom - TOP - (rows - 1) * GAP) / rows
    figure.subplots_adjust(
        left=left / width, right=1 - 0.15 / width, bottom=bottom / height, top=1 - TOP / height,
        wspace=space, hspace=GAP / axes_height,
    )  # fmt: skip
    return figure, axes


def panels(arms: Iterable[str], height: float, bottom: float = 0.6) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a titled panel for each arm, two beside each other on common axes."""
    names = list(arms)
    rows = -(-len(names) // 2)
    figure, places = framed((8, height * rows), rows, 2, bottom=bottom, sharex=True, sharey=True)
    for unused in places[len(names) :]:
        unused.set_visible(False)

    by_arm = dict(zip(names, places, strict=False))
    for arm, axes in by_arm.items():
        axes.set_title(label(arm), loc="left", fontsize=10)
    return figure, by_arm


def finish(axes: Axes, ylabel: str) -> None:
    """Axes of fractions, shown as percent."""
    axes.yaxis.set_major_formatter(lambda fraction, _: f"{100 * fraction:.3g}%")
    axes.set_ylabel(ylabel)
    plain(axes, "y")


def plain(axes: Axes, grid: Literal["x", "y"]) -> None:
    axes.grid(axis=grid, color=GRID, linewidth=0.6, alpha=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def svg_of(figure: Figure, salt: str) -> str:
    """The figure as SVG text, places to a hundredth of a point and words as they are; `salt` makes its own ids."""
    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return re.sub(r"<[^>]*>", lambda tag: LONG_NUMBER.sub(_to_a_hundredth, tag[0]), text.getvalue())


def _to_a_hundredth(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"
