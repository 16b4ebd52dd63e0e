"""The report's figures of what networks know: probes by block, and training, epoch by epoch; as SVG text.

eval/report/groups.py gives them curves of fractions and rows of history.csv.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, groupby
from operator import itemgetter

from matplotlib.axes import Axes

from eval.report.drawing import GRID, finish, framed, label, panels, styles, svg_of
from eval.report.svg import INK
from seal.record import Row

Curve = Sequence[float]


def probe_accuracy(blocks: Sequence[str], curves: Mapping[str, Sequence[Curve]], salt: str) -> str:
    """Figure 2: accuracy of the kNN probe at each block; arm -> one curve for each seed. The line is their mean."""
    figure, (axes,) = framed((8, 4), bottom=0.9)
    positions, style = range(len(blocks)), styles(curves)

    for arm, seeds in curves.items():
        axes.plot(positions, _of_columns(_mean, seeds), label=label(arm), **style[arm])
        if len(seeds) > 1:
            low, high = _of_columns(min, seeds), _of_columns(max, seeds)
            axes.fill_between(positions, low, high, color=style[arm]["color"], alpha=0.12, linewidth=0)

    _name_blocks(axes, blocks)
    finish(axes, "kNN probe, accuracy")
    axes.legend(frameon=False, ncols=2)
    return svg_of(figure, salt)


def probe_accuracy_by_generation(
    blocks: Sequence[str], curves: Mapping[str, Mapping[int, Sequence[Curve]]], order: Sequence[int], salt: str
) -> str:
    """Figure 3: the same by generation, a panel for each arm; arm -> generation -> one curve for each seed."""
    figure, by_arm = panels(curves, 2.9, bottom=0.9)
    strengths = {}
    for place, generation in enumerate(order):
        strengths[generation] = 0.3 + 0.7 * place / max(1, len(order) - 1)  # later is stronger

    for arm, axes in by_arm.items():
        for mark, (generation, seeds) in zip(cycle("osD^vP"), sorted(curves[arm].items()), strict=False):
            curve, strength = _of_columns(_mean, seeds), strengths[generation]
            axes.plot(curve, color=INK, alpha=strength, marker=mark, markersize=4, label=f"G = {generation}")

        _name_blocks(axes, blocks)
        finish(axes, "kNN probe, accuracy")
        axes.legend(frameon=False, fontsize=8)
        axes.label_outer()
    return svg_of(figure, salt)


def training_curves(runs: Mapping[str, Sequence[Row]], salt: str) -> str:
    """A panel for each arm; arm -> rows of history.csv of one seed. Ascent phases are shaded."""
    figure, by_arm = panels(runs, 2.2)
    for arm, axes in by_arm.items():
        _mark_phases(axes, runs[arm])

        points = []
        for row in runs[arm]:
            if row["train_accuracy"] is not None:
                points.append((row["global_epoch"] + 1, row["train_accuracy"]))
        axes.plot(*zip(*points, strict=True), color=styles([arm])[arm]["color"], linewidth=1.4)
        axes.set_xlabel("epoch")
        finish(axes, "training accuracy")
        axes.label_outer()
    return svg_of(figure, salt)


def _mark_phases(axes: Axes, rows: Sequence[Row]) -> None:
    for (phase, _), members in groupby(rows, key=itemgetter("phase", "generation")):
        epochs = [row["global_epoch"] for row in members]
        if phase == "ascent":
            axes.axvspan(epochs[0], epochs[-1] + 1, color="#f0e442", alpha=0.4, linewidth=0)

    for row in rows:
        if row["epoch"] == 0 and row["generation"] > 1:
            axes.axvline(row["global_epoch"], color=GRID, linewidth=0.8)


def _of_columns(summary: Callable[[Sequence[float]], float], seeds: Sequence[Curve]) -> list[float]:
    """A number for each block, of all seeds' at it."""
    return [*map(summary, zip(*seeds, strict=True))]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _name_blocks(axes: Axes, blocks: Sequence[str]) -> None:
    axes.set_xticks(range(len(blocks)), blocks, rotation=45, ha="right", rotation_mode="anchor")
