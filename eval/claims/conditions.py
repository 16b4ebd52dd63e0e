"""The regime conditions R1 to R4: without them a claim of the paper is not about what was run. Thresholds are data.

eval/claims/verdicts.py checks them for the runs that a claim uses.
"""

import itertools
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.claims.claim import Bound, ConditionName
from eval.claims.measures import MEASURES, clean_accuracy, test_accuracy
from eval.claims.normal_long import NORMAL_LONG, candidates
from eval.claims.own_best import arm_of_best
from seal.evidence import finite
from seal.measure import Cell
from seal.readings import Missing
from seal.record import ROUNDING
from seal.runs import RunFolder, Runs
from seal.sections import BASE_ARM

NOT_CHECKED = "not checked"  # what a failure begins with where nothing was found


@dataclass(frozen=True)
class Check:
    """A condition over the runs that a claim uses. It fails if it fails for one of them, or cannot be checked."""

    name: str
    against: Mapping[tuple[str, int], str]  # what was found, by the arm and seed of a run that fails
    files: frozenset[Path]

    @property
    def passed(self) -> bool:
        return not self.against

    @property
    def failures(self) -> list[str]:
        return [f"{arm}-{seed}: {words}" for (arm, seed), words in self.against.items()]

    @property
    def failing_seeds(self) -> set[int]:
        return {seed for _, seed in self.against}


@dataclass(frozen=True)
class Finding:
    """What speaks against a condition in one run."""

    against: str | None
    files: tuple[Path, ...]  # that were read


def check(name: ConditionName, condition: Bound, runs: Runs, used: Collection[tuple[str, int]]) -> Check:
    """Check the condition for those of the runs (arm, seed) whose arm it looks at; R4 for Normal (long), whichever arm
    they have for it, and chosen by their seeds where they have none."""
    if name == "R4":
        arms = {arm for arm, _ in used if arm in NORMAL_LONG} or candidates(runs, "last")
        looked_at = set(itertools.product(arms, {seed for _, seed in used}))
    else:
        looked_at = {(arm, seed) for arm, seed in used if arm_of_best(arm) in condition.arms}

    against, files = dict[tuple[str, int], str](), set[Path]()
    for arm, seed in sorted(looked_at):
        finding = _finding(name, condition, runs, arm, seed)
        if isinstance(finding, Missing):
            against[arm, seed] = f"{NOT_CHECKED}: {finding.reason}"
            continue

        files.update(finding.files)
        if finding.against:
            against[arm, seed] = finding.against
    return Check(name, against, frozenset(files))


def _finding(name: ConditionName, condition: Bound, runs: Runs, arm: str, seed: int) -> Finding | Missing:
    run = runs.get(arm, seed)
    return FINDINGS[name](runs, run, condition) if run else Missing("NOT-RUN", f"no run {arm}-{seed}")


def trained(runs: Runs, run: RunFolder, condition: Bound) -> Finding | Missing:
    """R1: clean training accuracy at the end of every generation; with a single cosine only its end counts."""
    first = run.last if run.settings["schedule"] == "one_cosine" else 1
    for generation in range(first, run.last + 1):
        accuracy = clean_accuracy(run, generation)
        if isinstance(accuracy, Missing):
            return accuracy
        if accuracy.value < condition.threshold - ROUNDING:
            return Finding(f"{accuracy.value:.2f}% in generation {generation}", accuracy.files)
    return Finding(None, (run.summary_path,))


def forgot(runs: Runs, run: RunFolder, condition: Bound) -> Finding | Missing:
    """R2: what each ascent leaves, by the condition's measure."""
    assert condition.measure is not None
    measure = MEASURES[condition.measure]
    left = measure.read(run, "last", Cell())
    if isinstance(left, Missing):
        return left

    above = left.value > condition.threshold + ROUNDING
    return Finding(f"{left.value:#.3g} {measure.unit}" if above else None, left.files)


def recovered(runs: Runs, run: RunFolder, condition: Bound) -> Finding | Missing:
    """R3: clean training accuracy and loss at the end of each later generation, beside generation 1's."""
    assert condition.loss is not None
    first = _end(run, 1)
    if isinstance(first, Missing):
        return first

    for generation in range(2, run.last + 1):
        end = _end(run, generation)
        if isinstance(end, Missing):
            return end

        points = 100 * (first.accuracy - end.accuracy)
        percent = _percent_above(first.loss, end.loss)
        if points > condition.threshold + ROUNDING or percent > condition.loss + ROUNDING:
            against = f"generation {generation} ends {points:.2f} points below generation 1, with {percent:+.1f}% loss"
            return Finding(against, (run.summary_path,))
    return Finding(None, (run.summary_path,))


def _percent_above(first: float, later: float) -> float:
    if first == 0:  # a margin of 18 has a cross-entropy of 0 in float32
        return math.inf if later else 0.0
    return 100 * (later / first - 1)


def overfits(runs: Runs, run: RunFolder, condition: Bound) -> Finding | Missing:
    """R4: test accuracy of Normal (long) over Normal's of the same seed."""
    longer, base_run = test_accuracy(run, "last"), runs.get(BASE_ARM, run.seed)
    if isinstance(longer, Missing):
        return longer
    if base_run is None:
        return Missing("NOT-RUN", f"no run {BASE_ARM}-{run.seed}")
    base = test_accuracy(base_run, 1)
    if isinstance(base, Missing):
        return base

    gain = longer.value - base.value
    against = f"{gain:+.2f} points over Normal" if gain > condition.threshold + ROUNDING else None
    return Finding(against, longer.files + base.files)


FINDINGS: Mapping[str, Callable[[Runs, RunFolder, Bound], Finding | Missing]] = {
    "R1": trained,
    "R2": forgot,
    "R3": recovered,
    "R4": overfits,
}


@dataclass(frozen=True)
class End:
    """Training images without augmentation, at a generation's end."""

    accuracy: float
    loss: float


def _end(run: RunFolder, generation: int) -> End | Missing:
    outcome = run.outcome(generation)
    if isinstance(outcome, Missing):
        return outcome

    return End(
        accuracy=finite(outcome.get("clean_accuracy"), run.summary_path, "clean_accuracy"),
        loss=finite(outcome.get("clean_loss"), run.summary_path, "clean_loss"),
    )
