"""The regime conditions R1 to R4: without them a claim of the paper is not about what was run. Thresholds are data."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from eval.claims.claim import Condition, ConditionName, Term
from eval.claims.evidence import Absent, Cell, Record, RunRecord, finite
from eval.claims.measures import MEASURES
from eval.claims.normal_long import candidates
from seal.config import BASE_ARM
from seal.record import ROUNDING

NOWHERE = Cell()

Found = tuple[str | None, tuple[Path, ...]]  # what speaks against the condition, and the files that were read


@dataclass(frozen=True)
class Check:
    """A condition over the runs that a claim uses. It fails if it fails for one of them, or cannot be checked."""

    name: str
    passed: bool
    failures: tuple[str, ...]  # a run and what was found
    files: frozenset[Path]


def check(name: ConditionName, condition: Condition, record: Record, runs: Collection[tuple[str, int]]) -> Check:
    """Check the condition for those of the runs (arm, seed) whose arm it looks at; R4 goes by their seeds alone."""
    looked_at = sorted({(arm, seed) for arm, seed in runs if arm in condition.arms})
    if name == "R4":
        longer = candidates(record, Term(arm="normal_long", generation="last", measure="test_accuracy"))
        looked_at = sorted({(arm, seed) for _, seed in runs for arm in longer})
    failures, files = [], set[Path]()
    for arm, seed in looked_at:
        try:
            found, read = FINDS[name](record, record.run(arm, seed), condition)
        except Absent as reason:
            found, read = f"not checked: {reason}", ()
        files.update(read)
        if found:
            failures.append(f"{arm}-{seed}: {found}")
    return Check(name, not failures, tuple(failures), frozenset(files))


def trained(record: Record, run: RunRecord, condition: Condition) -> Found:
    """R1: clean training accuracy at the end of every generation; with a single cosine only its end counts."""
    first = run.last if run.summary["generations"]["schedule"] == "one_cosine" else 1
    for generation in range(first, run.last + 1):
        reading = MEASURES["clean_accuracy"].read(run, generation, NOWHERE)
        if reading.value < condition.threshold - ROUNDING:
            return f"{reading.value:.2f}% in generation {generation}", reading.files
    return None, (run.folder / "summary.json",)


def forgot(record: Record, run: RunRecord, condition: Condition) -> Found:
    """R2: training accuracy after each ascent, in multiples of chance."""
    reading = MEASURES["ascent_over_chance"].read(run, "last", NOWHERE)
    above = reading.value > condition.threshold + ROUNDING
    return f"{reading.value:.2f} times chance" if above else None, reading.files


def recovered(record: Record, run: RunRecord, condition: Condition) -> Found:
    """R3: clean training accuracy and loss at the end of each later generation, beside generation 1's."""
    path, first = run.folder / "summary.json", run.outcome(1)
    accuracy, loss = (finite(first.get(key), path, key) for key in ("clean_accuracy", "clean_loss"))
    for generation in range(2, run.last + 1):
        end = run.outcome(generation)
        points = 100 * (accuracy - finite(end.get("clean_accuracy"), path, "clean_accuracy"))
        percent = 100 * (finite(end.get("clean_loss"), path, "clean_loss") / loss - 1)
        if points > condition.threshold + ROUNDING or percent > (condition.loss or 0) + ROUNDING:
            words = f"generation {generation} ends {points:.2f} points below generation 1, with {percent:+.1f}% loss"
            return words, (path,)
    return None, (path,)


def overfits(record: Record, run: RunRecord, condition: Condition) -> Found:
    """R4: test accuracy of Normal (long) over Normal's of the same seed."""
    read = MEASURES["test_accuracy"].read
    longer, base = read(run, "last", NOWHERE), read(record.run(BASE_ARM, run.seed), 1, NOWHERE)
    gain, files = longer.value - base.value, longer.files + base.files
    return f"{gain:+.2f} points over Normal" if gain > condition.threshold + ROUNDING else None, files


FINDS: Mapping[str, Callable[[Record, RunRecord, Condition], Found]] = {
    "R1": trained, "R2": forgot, "R3": recovered, "R4": overfits,
}  # fmt: skip
