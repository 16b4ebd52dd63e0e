"""Whether a reader's own runs agree with committed ones: bit for bit, or else within the spread over seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.special import stdtrit  # type: ignore[import-untyped]

from seal.errors import UserError
from seal.record import ROUNDING, read_json
from seal.runs import is_recorded
from seal.study.study import KEPT
from seal.tracking.finished import FinishedRun as Record
from seal.tracking.finished import final_values

LEVEL = 0.05  # chance that any of all values of a run from the same distribution is called outside
SETTINGS = ("tier", "data_sha256", "model", "training", "generations")  # of summary.json
MEASURES = ("test_accuracy", "model_accuracy", "accuracy", "mean_depth", "max_eigenvalue")
# Of an evaluation's parameters those that change none of its values beyond rounding.
FREE = {"targets", "generations", "memory_mb", "feature_batch_size", "backend", "spare", "slice_width"}
BEST = "final/best/"  # test accuracy at the best validation epoch: a choice, not an end


def compare(expected: Path, found: Path) -> bool:
    """Print how each run of `found` that `expected` has too agrees with it. Gives whether all do.

    A run whose files are not the same is judged value by value against the arm's seeds in `expected`: a new seed of the
    same distribution lies within mean +- t s sqrt(1 + 1/n). The deviation s of a value is pooled over the arms, as
    there are few seeds, and t is Student's at the level shared by all values that are judged (Bonferroni).
    """
    kept, yours = _records(expected), _records(found)
    names = [name for name in yours if name in kept]
    if not names:
        raise UserError(f"{found}: no run that {expected} has too; expected one of {', '.join(kept)}; train it first")
    different = [name for name in names if not identical(expected / name, found / name)]
    for name in different:
        _same_settings(name, kept[name], yours[name])
        _same_protocols(name, expected / name, found / name)
    spread = Spread(expected, kept, {name: yours[name] for name in different})
    outside = {name: spread.outside(name, yours[name]) for name in different}
    apart = {name: _apart(kept[name], yours[name], spread.shared[name]) for name in different}
    for name in names:
        if name not in different:
            print(f"{name}: the same as {expected / name}, bit for bit")
            continue
        count = len(spread.shared[name])
        said = f"{len(outside[name])} of {count} values outside" if outside[name] else f"{count} values within"
        if apart[name]:
            said = f"{apart[name]}; {said}"
        print(f"{name}: not the same bits; {said} the spread over seeds", *outside[name], sep="\n")
    if missing := [name for name in kept if name not in yours]:
        print(f"not in {found}: {', '.join(missing)}")
    agrees = not any(outside.values()) and not any(apart.values())
    print(f"{found} {'agrees' if agrees else 'does not agree'} with {expected}, in {len(names)} runs")
    return agrees


class Spread:
    """Between which values a new seed lies, by the runs of a folder; `different`: the runs held against it."""

    def __init__(self, expected: Path, kept: Mapping[str, Record], different: Mapping[str, Record]) -> None:
        self.expected = expected
        self.by_arm = {arm: [measured(kept[name]) for name in kept if _arm(name) == arm] for arm in map(_arm, kept)}
        # What every expected seed has; what the run itself lacks of an evaluation that it has is outside.
        self.shared = {
            name: [
                key
                for key in self.by_arm[_arm(name)][0]
                if all(key in each for each in self.by_arm[_arm(name)]) and _evaluated(run, key)
            ]
            for name, run in different.items()
        }
        self.judged = sum(map(len, self.shared.values()))

    def outside(self, name: str, run: Record) -> list[str]:
        """A line for each of its values that is. Raises UserError where `expected` has one seed an arm."""
        lines, ours = [], measured(run)
        for key in self.shared[name]:
            values = [each[key] for each in self.by_arm[_arm(name)]]
            deviation, freedom = pooled_deviation(key, self.by_arm)
            if not freedom:
                raise UserError(
                    f"{name}: not the same bits as {self.expected / name}, and by how much runs differ is not known: "
                    f"found one seed an arm in {self.expected}, expected two or more"
                )
            mean, half = statistics.fmean(values), half_width(deviation, freedom, len(values), self.judged)
            if key not in ours:
                lines.append(f"  {key}: no finite number, expected {mean:.4g} +- {half:.2g}")
            elif abs(ours[key] - mean) > half + ROUNDING * max(1, abs(mean)):
                lines.append(f"  {key}: {ours[key]:.4g}, expected {mean:.4g} +- {half:.2g}")
        return lines


def identical(first: Path, second: Path) -> bool:
    """Whether what `first` keeps of a run is in `second`, byte for byte; evaluations that one lacks do not count."""
    for name in KEPT:
        for path in [first / name] if (first / name).is_file() else sorted((first / name).rglob("*")):
            twin = second / path.relative_to(first)
            compared = path.is_file() and (twin.exists() or name != "eval")
            if compared and not (twin.exists() and path.read_bytes() == twin.read_bytes()):
                return False
    return True


def measured(record: Record) -> dict[str, float]:
    """The values by which a run is judged: its accuracies on test images and targets, depths and eigenvalues.

    Of a run that diverged: those of its last whole generation.
    """
    whole = replace(record, summary=record.summary | {"diverged": None})
    return {
        name.removeprefix("final/"): value
        for name, value in final_values(whole)
        if name.rpartition("/")[2] in MEASURES and not name.startswith(BEST)
    }


def pooled_deviation(key: str, by_arm: Mapping[str, Sequence[Mapping[str, float]]]) -> tuple[float, int]:
    """A value's standard deviation over seeds, pooled over the arms that have it in every seed; degrees of freedom."""
    squares, freedom = 0.0, 0
    for runs in by_arm.values():
        values = [each[key] for each in runs if key in each]
        if len(values) == len(runs) > 1:
            squares += statistics.variance(values) * (len(values) - 1)
            freedom += len(values) - 1
    return (math.sqrt(squares / freedom) if freedom else 0.0), freedom


def half_width(deviation: float, freedom: int, seeds: int, judged: int) -> float:
    """Half of the interval in which a new seed lies, all of `judged` values at once, in 1 - LEVEL of cases."""
    return float(stdtrit(freedom, 1 - LEVEL / (2 * judged))) * deviation * math.sqrt(1 + 1 / seeds)


def _records(folder: Path) -> dict[str, Record]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one of runs, as expected/mini")
    found = {path.name: _record(path) for path in sorted(folder.iterdir()) if is_recorded(path)}
    for name, record in found.items():
        if missing := [key for key in (*SETTINGS, "final", "diverged") if key not in record.summary]:
            raise UserError(f"{folder / name / 'summary.json'}: no {missing[0]!r}, expected a training's own summary")
    return found


def _record(folder: Path) -> Record:
    try:
        written = sorted((folder / "eval").glob("*/gen-*.json"))
        evaluations = {f"{path.parent.name}-{path.stem}": read_json(path)["values"] for path in written}
        return Record(read_json(folder / "summary.json"), evaluations, {}, "")
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: found files that are cut off or no record ({error!r}), expected a training's own; "
            "bring it back by `dvc checkout` or `git checkout`"
        ) from error


def _evaluated(run: Record, key: str) -> bool:
    """Whether the run has what the value is from: its training's end, or the evaluation that its name begins with."""
    return "/" not in key or key.partition("/")[0] in run.evaluations


def _arm(name: str) -> str:
    return name.rpartition("-")[0]


def _same_settings(name: str, kept: Record, yours: Record) -> None:
    for key in SETTINGS:
        if kept.summary[key] != yours.summary[key]:
            raise UserError(
                f"{name}: found another {key} than in the expected run; compare runs of the same parameters"
            )


def _same_protocols(name: str, kept: Path, yours: Path) -> None:
    for path in sorted(kept.glob("eval/*/gen-*.json")):
        twin = yours / path.relative_to(kept)
        if twin.exists():
            expected, found = _protocol(path), _protocol(twin)
            for key in sorted(expected.keys() | found.keys()):
                if expected.get(key) != found.get(key):
                    raise UserError(
                        f"{name}: found {key} {found.get(key)} in {path.parent.name}, but {expected.get(key)} in the "
                        "expected run; compare evaluations of the same parameters"
                    )


def _protocol(path: Path) -> dict[str, Any]:
    return {key: value for key, value in read_json(path).get("params", {}).items() if key not in FREE}


def _apart(kept: Record, yours: Record, shared: Sequence[str]) -> str:
    """Why two runs cannot agree, whatever their values; empty where they can.

    The batch in which a loss overflows differs with rounding; that it does, and in which generation, is the result.
    """
    expected, found = (each.summary["diverged"] for each in (kept, yours))
    if (expected or {}).get("generation") != (found or {}).get("generation"):
        said = [
            f"diverged in generation {each['generation']}" if each else "did not diverge" for each in (found, expected)
        ]
        return f"it {said[0]}, the expected run {said[1]}"
    return "" if shared else "no value to compare"
