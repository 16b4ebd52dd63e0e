"""The report's figures of outcomes, as SVG text: accuracy by generation, differences with their intervals, and a
difference by how often weight decay renewed the weights.

An outcome has a dot for each seed; lines are means.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from eval.claims.rule import Sample, half_width
from eval.report.drawing import finish, framed, label, plain, styles, svg_of
from eval.report.marks import COLOURS, SIGNS
from eval.report.svg import INK

BySeed = Mapping[str, Mapping[int, Sequence[float]]]  # arm -> generation -> a fraction a seed
Published = Mapping[str, Mapping[int, float]]  # arm -> generation -> a fraction
APART = 0.05  # generations between the dots of one arm and of the next
IN_A_ROW = 6  # arms of a legend
ASIDE = (0.97, 1.03)  # of a place on a logarithmic axis, for two arms' intervals beside each other


@dataclass(frozen=True)
class Difference:
    """A claim's difference with its interval, positive as claimed."""

    name: str
    verdict: str
    unit: str
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Renewed:
    """Differences in points, a seed each, where weight decay has renewed the weights `renewal` times a generation."""

    renewal: float
    scale: float  # S
    name: str  # of a record that is not of the sweep; "" of one that is
    by_seed: Mapping[int, float]
    failing: Sequence[str] = ()  # conditions that do not hold for all of these runs
    diverged: int = 0  # further seeds, of which one side has no end

    @property
    def mean(self) -> float:
        return statistics.fmean(self.by_seed.values())

    @property
    def half(self) -> float | None:
        """Of the mean's interval over seeds; None for one seed."""
        return half_width(Sample((*self.by_seed.values(),))) if len(self.by_seed) > 1 else None


def accuracy_by_generation(ours: BySeed, paper: Published, salt: str) -> str:
    """A line for each arm and a dot for each seed; beside it, fainter, the paper's own numbers where it has any."""
    legend = 0.2 * math.ceil(len(ours) / IN_A_ROW)  # inches
    inches, widths = (9, 3.3 + legend), (3, 2 if paper else 0.01)
    figure, (axes, beside) = framed(inches, 1, 2, bottom=0.65 + legend, space=0.16, width_ratios=widths)
    style = styles(ours)

    for place, (arm, by_generation) in enumerate(ours.items()):
        shift = APART * (place - (len(ours) - 1) / 2)
        positions = [generation + shift for generation in by_generation]
        axes.plot(positions, [*map(statistics.fmean, by_generation.values())], label=label(arm), **style[arm])
        for position, seeds in zip(positions, by_generation.values(), strict=True):
            axes.plot([position] * len(seeds), seeds, ".", color=style[arm]["color"], markersize=5, alpha=0.55)

    _name_generations(axes, ours, "here")
    axes.set_ylabel("test accuracy")
    figure.legend(loc="lower center", ncols=min(IN_A_ROW, len(ours)), frameon=False, fontsize=9)
    beside.set_visible(bool(paper))
    for arm, numbers in paper.items():
        beside.plot([*numbers], [*numbers.values()], **styles([arm])[arm], alpha=0.45)
    if paper:
        _name_generations(beside, paper, "the paper: 200 classes, ResNet-50")
    return svg_of(figure, salt)


def _name_generations(axes: Axes, curves: BySeed | Published, title: str) -> None:
    generations: set[int] = set()
    for by_generation in curves.values():
        generations.update(by_generation)
    axes.set_xticks(sorted(generations))
    axes.set_xlabel("generation")
    axes.set_title(title, loc="left", fontsize=10)
    finish(axes, "")


def differences(claims: Sequence[Difference], salt: str) -> str:
    """A row for each claim, a panel for each unit: the difference, its interval, and the verdict's sign."""
    by_unit: dict[str, list[Difference]] = {}
    for claim in claims:
        by_unit.setdefault(claim.unit, []).append(claim)

    heights = [len(rows) + 2 for rows in by_unit.values()]
    inches = (8, 0.22 * sum(heights) + 1)
    figure, places = framed(inches, len(by_unit), left=3.2, height_ratios=heights)
    for axes, (unit, rows) in zip(places, by_unit.items(), strict=True):
        axes.axvline(0, color=INK, linewidth=0.8)
        names = []
        for place, claim in enumerate(rows):
            colour = COLOURS[claim.verdict]
            axes.plot(claim.interval or [claim.mean] * 2, [place] * 2, color=colour, linewidth=1.6)
            axes.plot(claim.mean, place, "o", color=colour, markersize=5)
            names.append(f"{claim.name}  {SIGNS[claim.verdict]}")

        axes.set_yticks(range(len(rows)), names, fontsize=8)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"difference, positive as claimed{f', in {unit}' if unit else ''}", fontsize=9)
        plain(axes, "x")
    return svg_of(figure, salt)


def against_renewal(outcomes: Mapping[str, Sequence[Renewed]], salt: str) -> str:
    """What SEAL has over each other arm, by how often weight decay renews the weights in a generation.

    A line joins the sweep's means; that of another record is hollow, and named.
    """
    figure, (axes,) = framed((8, 3.4))
    style = styles(outcomes)
    axes.axhline(0, color=INK, linewidth=0.8)

    renewals: set[float] = set()
    for (arm, points), aside in zip(outcomes.items(), ASIDE, strict=True):
        renewals.update(point.renewal for point in points)
        sweep = [point for point in points if not point.name]
        places = [aside * point.renewal for point in sweep]
        axes.plot(places, [point.mean for point in sweep], label=f"SEAL less {label(arm)}", **style[arm])
        for point in points:
            _draw_renewed(axes, aside * point.renewal, point, style[arm])

    ticks = sorted(renewals)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{renewal:g}" for renewal in ticks])
    axes.minorticks_off()
    axes.set_xlabel("D: sum of rate times decay over a generation's steps")
    axes.set_ylabel("points of test accuracy")
    axes.legend(frameon=False, fontsize=9)
    plain(axes, "y")
    return svg_of(figure, salt)


def _draw_renewed(axes: Axes, place: float, point: Renewed, style: Mapping[str, Any]) -> None:
    """A dot a seed, the mean's interval, and the mean itself where no line has it."""
    seeds, colour = [*point.by_seed.values()], style["color"]
    axes.plot([place] * len(seeds), seeds, ".", color=colour, markersize=6, alpha=0.55)
    if point.half is not None:
        axes.errorbar(place, point.mean, point.half, color=colour, capsize=3, linewidth=1)
    if point.name:
        hollow = {**style, "linestyle": "", "markerfacecolor": "none", "markersize": 7}
        axes.plot(place, point.mean, label=f"{point.name}, S = {point.scale:g}", **hollow)
