"""The report's figures, as SVG text: readable in print and by colour-blind eyes, equal for equal data."""

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

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


def _svg(figure: Figure, salt: str) -> str:
    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _style(arm: str) -> dict[str, Any]:
    colour, dash, mark = STYLES.get(arm, OTHERS)
    return {"color": colour, "linestyle": dash, "marker": mark, "markersize": 4, "linewidth": 1.6}


def _finish(axes: Axes, ylabel: str) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel(ylabel)
    axes.grid(axis="y", color="#e3e6e9", linewidth=0.8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _mean(seeds: Sequence[Curve]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*seeds, strict=True)]


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


def probe_accuracy(blocks: Sequence[str], curves: Mapping[str, Sequence[Curve]]) -> str:
    """Figure 2: accuracy of the kNN probe at each block; arm -> one curve for each seed. The line is their mean."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    positions = range(len(blocks))
    for arm, seeds in curves.items():
        axes.plot(positions, _mean(seeds), label=label(arm), **_style(arm))
        if len(seeds) > 1:
            columns = list(zip(*seeds, strict=True))
            low, high = [min(column) for column in columns], [max(column) for column in columns]
            axes.fill_between(positions, low, high, color=_style(arm)["color"], alpha=0.12, linewidth=0)
    axes.set_xticks(positions, blocks, rotation=45, ha="right", rotation_mode="anchor")
    _finish(axes, "kNN probe, accuracy")
    axes.legend(frameon=False, ncols=2)
    return _svg(figure, "figure 2")


def probe_accuracy_by_generation(
    blocks: Sequence[str], curves: Mapping[str, Mapping[int, Sequence[Curve]]], order: Sequence[int]
) -> str:
    """Figure 3: the same by generation, a panel for each arm; arm -> generation -> one curve for each seed."""
    figure, panels = _panels(curves, 2.9)
    positions = range(len(blocks))
    greys = {generation: str(0.75 - 0.75 * place / max(1, len(order) - 1)) for place, generation in enumerate(order)}
    for arm, axes in panels.items():
        for place, (generation, seeds) in enumerate(sorted(curves[arm].items())):
            mark = "osD^vP"[place % 6]
            axes.plot(
                positions, _mean(seeds), color=greys[generation], marker=mark, markersize=4, label=f"G = {generation}"
            )
        axes.set_xticks(positions, blocks, rotation=45, ha="right", rotation_mode="anchor")
        _finish(axes, "kNN probe, accuracy")
        axes.legend(frameon=False, fontsize=8)
    return _svg(figure, "figure 3")


def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], column: str, ylabel: str) -> str:
    """A panel for each arm; arm -> rows of history.csv of one seed. Ascent phases are shaded."""
    figure, panels = _panels(runs, 2.2)
    for arm, axes in panels.items():
        rows = runs[arm]
        for row in rows:
            if row["phase"] == "ascent":
                axes.axvspan(row["global_epoch"], row["global_epoch"] + 1, color="#f0e442", alpha=0.5, linewidth=0)
            if row["epoch"] == 0 and row["generation"] > 1:
                axes.axvline(row["global_epoch"], color="#9aa1a8", linewidth=0.8)
        points = [(row["global_epoch"] + 1, row[column]) for row in rows if row[column] is not None]
        axes.plot(*zip(*points, strict=True), color=_style(arm)["color"], linewidth=1.4)
        axes.set_xlabel("epoch")
        _finish(axes, ylabel)
    return _svg(figure, column)
