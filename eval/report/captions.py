"""What is seen in the report's figures, said in numbers under each; made from the record, so it never goes stale."""

import statistics
from collections.abc import Mapping, Sequence

from eval.report.figures import Curve, label
from seal.record import Row


def spread(fractions: Sequence[float], unit: str = "%", sign: str = "") -> str:
    """Their mean in percent or points, and the lowest and highest seed where there are several."""
    values = [100 * each for each in fractions]
    mean = f"{statistics.fmean(values):{sign}.1f}{unit}"
    return f"{mean} [{min(values):{sign}.1f}, {max(values):{sign}.1f}]" if len(values) > 1 else mean


def brackets(arms: Mapping[str, Sequence[object]]) -> str:
    """What the brackets of `spread` hold; arm -> its seeds."""
    seeds = max(map(len, arms.values()))
    return f" Brackets: lowest and highest of {seeds} seeds." if seeds > 1 else " One seed."


def extremes(values: Mapping[str, Sequence[float]]) -> str:
    """The lowest and the highest arm; arm -> a fraction a seed."""
    order = sorted(values, key=lambda arm: statistics.fmean(values[arm]))
    low, high = (f"{spread(values[arm])} ({label(arm)})" for arm in (order[0], order[-1]))
    return low if len(order) == 1 else f"{low} to {high}"


def probe_accuracy(blocks: Sequence[str], curves: Mapping[str, Sequence[Curve]]) -> str:
    """Under Figure 2: the lowest and the highest arm at the second and at the last block, and where each arm leads."""
    by_block = [{arm: [seed[place] for seed in seeds] for arm, seeds in curves.items()} for place in range(len(blocks))]
    said = [f"at {blocks[place]} from {extremes(by_block[place])}" for place in _places(blocks)]
    leaders = [max(arms, key=lambda arm: statistics.fmean(arms[arm])) for arms in by_block]
    led = ", ".join(f"{label(arm)} at {leaders.count(arm)}" for arm in curves if arm in leaders)
    return f" Accuracy runs {'; '.join(said)}. Of {len(blocks)} blocks, highest are {led}.{brackets(curves)}"


def probe_accuracy_by_generation(blocks: Sequence[str], curves: Mapping[str, Mapping[int, Sequence[Curve]]]) -> str:
    """Under Figure 3: each arm's change from its first to its last generation at the second and at the last block."""
    said, lasts = [], {}
    for arm, generations in curves.items():
        first, last = (generations[choose(generations)] for choose in (min, max))
        if first is not last and len(first) == len(last):
            lasts[arm] = last
            change = [spread(_less(last, first, place), "", "+") for place in _places(blocks)]
            said.append(f"{label(arm)} {' and '.join(change)}")
    if not said:
        return ""
    where = " and ".join(blocks[place] for place in _places(blocks))
    return f" Change from the first to the last, in points, at {where}: {'; '.join(said)}.{brackets(lasts)}"


def training(histories: Mapping[str, Sequence[Sequence[Row]]]) -> str:
    """Under the training curves: where the ascents and the training end; arm -> a history a seed."""
    ends = _ends(histories, "train_accuracy")
    if not ends:
        return ""
    ascents = {
        arm: [max(row["train_accuracy"] for row in rows if _ascent_ends(rows, row)) for rows in histories[arm]]
        for arm in ends
        if all(any(_ascent_ends(rows, row) for row in rows) for rows in histories[arm])
    }
    highest = ", ".join(f"{spread(ascents[arm])} ({label(arm)})" for arm in ascents)
    least = f" The highest accuracy at an ascent's end is {highest}."
    return f"{least if ascents else ''} Training ends at {extremes(ends)}.{brackets(ends)}"


def validation(histories: Mapping[str, Sequence[Sequence[Row]]]) -> str:
    """Under the validation curves: accuracy when training ends."""
    ends = _ends(histories, "val_accuracy")
    order = sorted(ends, key=lambda arm: statistics.fmean(ends[arm]), reverse=True)
    said = ", ".join(f"{label(arm)} {spread(ends[arm])}" for arm in order)
    return f" At its end, from the highest: {said}.{brackets(ends)}" if ends else ""


def _ends(histories: Mapping[str, Sequence[Sequence[Row]]], column: str) -> dict[str, list[float]]:
    """The last value of each seed, of the arms whose seeds all have the column throughout."""
    known = {
        arm: seeds
        for arm, seeds in histories.items()
        if all(rows and all(row[column] is not None for row in rows) for rows in seeds)
    }
    return {arm: [rows[-1][column] for rows in seeds] for arm, seeds in known.items()}


def _places(blocks: Sequence[str]) -> list[int]:
    """The second block, of which the paper's text speaks, and the last."""
    return list(dict.fromkeys((min(1, len(blocks) - 1), len(blocks) - 1)))


def _less(last: Sequence[Curve], first: Sequence[Curve], place: int) -> list[float]:
    return [after[place] - before[place] for before, after in zip(first, last, strict=True)]


def _ascent_ends(rows: Sequence[Row], row: Row) -> bool:
    following = rows[row["global_epoch"] + 1 : row["global_epoch"] + 2]
    return row["phase"] == "ascent" and not (following and following[0]["phase"] == "ascent")
