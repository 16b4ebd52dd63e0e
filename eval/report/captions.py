"""What is seen in the report's figures, said in numbers under each; made from the record, so it never goes stale."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter

from eval.report.drawing import label
from eval.report.figures import Curve
from eval.report.numbers import second_and_last
from seal.record import Row

Histories = Mapping[str, Sequence[Sequence[Row]]]  # arm -> a history a seed
Fractions = Mapping[str, Sequence[float]]  # arm -> a fraction a seed


def probe_accuracy(blocks: Sequence[str], curves: Mapping[str, Sequence[Curve]]) -> str:
    """Under Figure 2: the lowest and the highest arm at the second and at the last block, and where each arm leads."""
    ranges = []
    for block in second_and_last(blocks).values():
        ranges.append(f"at {block} from {extremes(_at(curves, blocks.index(block)))}")

    leaders: Counter[str] = Counter()
    for place in range(len(blocks)):
        leaders[highest_first(_at(curves, place))[0]] += 1

    leads = []
    for arm in curves:
        if leaders[arm]:
            leads.append(f"{label(arm)} at {leaders[arm]}")

    accuracy = f" Accuracy runs {'; '.join(ranges)}."
    return f"{accuracy} Of {len(blocks)} blocks, highest are {', '.join(leads)}.{brackets(curves)}"


def probe_accuracy_by_generation(blocks: Sequence[str], curves: Mapping[str, Mapping[int, Sequence[Curve]]]) -> str:
    """Under Figure 3: each arm's change from its first to its last generation at the second and at the last block."""
    shown = second_and_last(blocks).values()
    changes, last_curves = [], {}
    for arm, generations in curves.items():
        first, last = generations[min(generations)], generations[max(generations)]
        if first is last or len(first) != len(last):
            continue

        last_curves[arm] = last
        gains = [spread(_gains(first, last, place), "", "+") for place in map(blocks.index, shown)]
        changes.append(f"{label(arm)} {' and '.join(gains)}")

    if not changes:
        return ""
    text = f" Change from the first to the last, in points, at {' and '.join(shown)}: {'; '.join(changes)}."
    return text + brackets(last_curves)


def seeds_shown(seeds: Mapping[str, int]) -> str:
    """Of curves of one seed an arm: which; arm -> seed."""
    if len(set(seeds.values())) == 1:
        return f"seed {next(iter(seeds.values()))}"
    return "seed " + ", ".join(f"{seed} of {label(arm)}" for arm, seed in seeds.items())


def training(histories: Histories) -> str:
    """Under the training curves: where the ascents and the training end."""
    ends = _ends(histories, "train_accuracy")
    if not ends:
        return ""

    highest = []
    for arm in ends:
        ascents = [*map(_accuracies_at_ascents_ends, histories[arm])]
        if all(ascents):
            highest.append(f"{spread([*map(max, ascents)])} ({label(arm)})")

    ascent = f" The highest running accuracy in an ascent's last epoch is {', '.join(highest)}." if highest else ""
    return f"{ascent} Training ends at {extremes(ends)}.{brackets(ends)}"


def spread(fractions: Sequence[float], unit: str = "%", sign: str = "") -> str:
    """Their mean in percent or points, and the lowest and highest seed where there are several."""
    values = [100 * fraction for fraction in fractions]
    mean = f"{statistics.fmean(values):{sign}.1f}{unit}"
    return f"{mean} [{min(values):{sign}.1f}, {max(values):{sign}.1f}]" if len(values) > 1 else mean


def brackets(arms: Mapping[str, Sequence[object]]) -> str:
    """What the brackets of `spread` hold; arm -> its seeds."""
    seeds = max(map(len, arms.values()))
    return f" Brackets: lowest and highest of {seeds} seeds." if seeds > 1 else " One seed."


def extremes(values: Fractions) -> str:
    """The lowest and the highest arm."""
    order = sorted(values, key=lambda arm: statistics.fmean(values[arm]))
    low, high = order[0], order[-1]
    lowest = f"{spread(values[low])} ({label(low)})"
    return lowest if len(order) == 1 else f"{lowest} to {spread(values[high])} ({label(high)})"


def highest_first(values: Fractions) -> list[str]:
    """The arms by the mean over their seeds; of equals the one that is named first."""
    return sorted(values, key=lambda arm: statistics.fmean(values[arm]), reverse=True)


def _at(curves: Mapping[str, Sequence[Curve]], place: int) -> dict[str, list[float]]:
    """Each arm's seeds at one block."""
    at = itemgetter(place)
    return {arm: [*map(at, seeds)] for arm, seeds in curves.items()}


def _gains(first: Sequence[Curve], last: Sequence[Curve], place: int) -> list[float]:
    """By how much each seed's last curve is above its first."""
    return [after[place] - before[place] for before, after in zip(first, last, strict=True)]


def _ends(histories: Histories, column: str) -> dict[str, list[float]]:
    """The last value of each seed, of the arms whose seeds all have the column throughout."""
    cell = itemgetter(column)
    ends = {}
    for arm, seeds in histories.items():
        columns = [[*map(cell, rows)] for rows in seeds]
        if all(columns) and None not in chain(*columns):
            ends[arm] = [*map(itemgetter(-1), columns)]
    return ends


def _accuracies_at_ascents_ends(rows: Sequence[Row]) -> list[float]:
    """Training accuracy of each ascent's last epoch."""
    accuracies = []
    for place, row in enumerate(rows):
        goes_on = place + 1 < len(rows) and rows[place + 1]["phase"] == "ascent"
        if row["phase"] == "ascent" and not goes_on:
            accuracies.append(row["train_accuracy"])
    return accuracies
