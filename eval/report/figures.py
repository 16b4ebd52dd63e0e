"""The report's figures, as SVG text: readable in print and by colour-blind eyes, equal for equal data.

eval/report/page.py gives them curves of fractions and rows of history.csv; an arm's name and style are the tables' too.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import StringIO
from itertools import cycle
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from seal.record import Row

# Okabe and Ito's palette (2008), and a dash and a mark of its own for each arm, for print in black and white.
STYLES = {
    "normal": ("#000000", "-", "o"), "normal_long": ("#E69F00", "--", "s"), "normal_long_cosine": ("#56B4E9", ":", "D"),
    "llf": ("#D55E00", "-.", "^"), "seal": ("#0072B2", "-", "v"), "seal_s0": ("#009E73", "--", "P"),
}  # fmt: skip
OTHERS = ("#CC79A7", (0, (1, 1)), "x")
LABELS = {
    "normal": "Normal", "normal_long": "Normal (long)", "normal_long_cosine": "Normal (long), one cosine",
    "llf": "LLF", "seal": "SEAL", "seal_s0": "SEAL, S = 0", "seal_freeze": "freeze", "seal_reinit": "reinit",
    "seal_reverse": "reverse",
}  # fmt: skip
Curve = Sequence[float]


def label(arm: str) -> str:
    """An arm's name as the tables show it."""
    return LABELS.get(arm, arm)


def probe_accuracy(blocks: Sequence[str], curves: Mapping[str, Sequence[Curve]]) -> str:
    """Figure 2: accuracy of the kNN probe at each block; arm -> one curve for each seed. The line is their mean."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    positions = range(len(blocks))

    for arm, seeds in curves.items():
        axes.plot(positions, _of_columns(_mean, seeds), label=label(arm), **_style(arm))
        if len(seeds) > 1:
            low, high = _of_columns(min, seeds), _of_columns(max, seeds)
            axes.fill_between(positions, low, high, color=_style(arm)["color"], alpha=0.12, linewidth=0)

    _name_blocks(axes, blocks)
    _finish(axes, "kNN probe, accuracy")
    axes.legend(frameon=False, ncols=2)
    return _svg(figure, "figure 2")


def probe_accuracy_by_generation(
    blocks: Sequence[str], curves: Mapping[str, Mapping[int, Sequence[Curve]]], order: Sequence[int]
) -> str:
    """Figure 3: the same by generation, a panel for each arm; arm -> generation -> one curve for each seed."""
    figure, panels = _panels(curves, 2.9)
    greys = {}
    for place, generation in enumerate(order):
        greys[generation] = str(0.75 - 0.75 * place / max(1, len(order) - 1))  # later is darker

    for arm, axes in panels.items():
        for mark, (generation, seeds) in zip(cycle("osD^vP"), sorted(curves[arm].items()), strict=False):
            curve = _of_columns(_mean, seeds)
            axes.plot(curve, color=greys[generation], marker=mark, markersize=4, label=f"G = {generation}")

        _name_blocks(axes, blocks)
        _finish(axes, "kNN probe, accuracy")
        axes.legend(frameon=False, fontsize=8)
    return _svg(figure, "figure 3")


def accuracy_by_generation(curves: Mapping[str, Mapping[int, float]]) -> str:
    """Accuracy at each generation's end, a line for each arm; arm -> generation -> a fraction."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()

    others = cycle(itertools.product(("-", "--", ":"), "x+*12348"))
    for arm, by_generation in curves.items():
        style = _style(arm)
        if arm not in STYLES:
            style["linestyle"], style["marker"] = next(others)
        axes.plot([*by_generation], [*by_generation.values()], label=label(arm), **style)

    axes.set_xticks(sorted({*itertools.chain(*curves.values())}))
    axes.set_xlabel("generation")
    _finish(axes, "test accuracy")
    axes.legend(frameon=False, ncols=3, fontsize=8)
    return _svg(figure, "relearning")


def training_curves(runs: Mapping[str, Sequence[Row]], column: str, ylabel: str) -> str:
    """A panel for each arm; arm -> rows of history.csv of one seed. Ascent phases are shaded."""
    figure, panels = _panels(runs, 2.2)
    for arm, axes in panels.items():
        _mark_phases(axes, runs[arm])

        points = [(row["global_epoch"] + 1, row[column]) for row in runs[arm] if row[column] is not None]
        axes.plot(*zip(*points, strict=True), color=_style(arm)["color"], linewidth=1.4)
        axes.set_xlabel("epoch")
        _finish(axes, ylabel)
    return _svg(figure, column)


def _mark_phases(axes: Axes, rows: Sequence[Row]) -> None:
    for row in rows:
        if row["phase"] == "ascent":
            axes.axvspan(row["global_epoch"], row["global_epoch"] + 1, color="#f0e442", alpha=0.5, linewidth=0)
        if row["epoch"] == 0 and row["generation"] > 1:
            axes.axvline(row["global_epoch"], color="#9aa1a8", linewidth=0.8)


def _panels(arms: Iterable[str], height: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a titled panel for each arm, two beside each other on common axes."""
    names = list(arms)
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(8, height * rows), layout="constrained")
    places = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
    for unused in places[len(names) :]:
        unused.set_visible(False)

    panels = dict(zip(names, places, strict=False))
    for arm, axes in panels.items():
        axes.set_title(label(arm), loc="left", fontsize=10)
    return figure, panels


def _of_columns(summary: Callable[[Sequence[float]], float], seeds: Sequence[Curve]) -> list[float]:
    """A number for each block, of all seeds' at it."""
    return [*map(summary, zip(*seeds, strict=True))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _style(arm: str) -> dict[str, Any]:
    colour, dash, mark = STYLES.get(arm, OTHERS)
    return {"color": colour, "linestyle": dash, "marker": mark, "markersize": 4, "linewidth": 1.6}


def _name_blocks(axes: Axes, blocks: Sequence[str]) -> None:
    axes.set_xticks(range(len(blocks)), blocks, rotation=45, ha="right", rotation_mode="anchor")


def _finish(axes: Axes, ylabel: str) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color="#e3e6e9", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _svg(figure: Figure, salt: str) -> str:
    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
