"""Whether a reader's own runs agree with committed ones: bit for bit, or else within the spread over seeds.

`seal compare` calls it. Which files of a run are held against each other seal/study/study.py says, by which values a
run is judged seal/evaluations.py, and how far a value may lie seal/study/spread.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seal.errors import UserError
from seal.evaluations import evaluation_and_target
from seal.readings import EvaluationFile
from seal.runs import Evaluations, RunFolder, Runs, are_folders
from seal.study.numbers import Images, difference
from seal.study.spread import Spread, evaluation_in, not_the_same
from seal.study.study import KEPT


@dataclass(frozen=True)
class Agreement:
    """How a run agrees with the expected one of its name."""

    run: str
    differing: Sequence[Path] = ()  # files of it whose bytes are not the expected ones
    judged: int = 0  # values
    outside: Sequence[str] = ()  # a line for each of them that is outside the spread over seeds
    apart: str = ""  # why the two cannot agree, whatever their values
    archive: str = ""  # that its images are the expected ones, of another archive
    other_images: Sequence[str] = ()  # its evaluations of other images than the expected ones, which are not compared

    @property
    def agrees(self) -> bool:
        return not self.outside and not self.apart


def compare(expected: Path, own: Path) -> bool:
    """Print how each run of `own` that `expected` has too agrees with it. Gives whether all do.

    A run that is BROKEN, here or there, is named and agrees with nothing.
    """
    are_folders([expected, own])
    expected_runs = Runs.read([expected])
    own_runs = Runs.read([own], _evaluations_of(expected_runs))
    kept = {run.name: run for run in expected_runs}
    yours = {run.name: run for run in own_runs}
    broken = [*expected_runs.broken.values(), *own_runs.broken.values()]
    if not kept.keys() & yours.keys():
        names = ", ".join(kept)
        reasons = [f"; BROKEN: {reason}" for reason in broken]
        raise UserError(
            f"{own}: no run that {expected} has too; expected one of {names}; train it first{''.join(reasons)}"
        )

    agreements = agreements_of(expected, kept, yours)
    for agreement in agreements:
        _print(agreement, expected)

    for reason in broken:
        print(f"BROKEN, and agrees with nothing: {reason}")
    missing = [name for name in kept if name not in yours and name not in own_runs.broken]
    if missing:
        print(f"not in {own}: {', '.join(missing)}")

    agrees = not broken and all(agreement.agrees for agreement in agreements)
    print(f"{own} {'agrees' if agrees else 'does not agree'} with {expected}, in {len(agreements)} runs")
    return agrees


def agreements_of(expected: Path, kept: Mapping[str, RunFolder], yours: Mapping[str, RunFolder]) -> list[Agreement]:
    """Of each run that both have. One whose files are not the same is judged value by value against the arm's seeds in
    `expected`. Raises UserError for what was made by other parameters."""
    common = [run for name, run in yours.items() if name in kept]
    different, files = [], dict[str, list[Path]]()
    for run in common:
        files[run.name] = differing(kept[run.name].folder, run.folder)
        if files[run.name]:
            _same_numbers(kept[run.name], run)
            _same_protocols(kept[run.name], run)
            different.append(_of_the_same_images(kept[run.name], run))

    spread = Spread(expected, kept.values(), different)
    agreements = {name: Agreement(name) for name in files}
    for run in different:
        judged = len(spread.shared[run.name])
        evaluated = {folder.name for folder in run.evaluation_folders()}
        agreements[run.name] = Agreement(
            run.name,
            files[run.name],
            judged,
            spread.outside(run, files[run.name]),
            _apart(kept[run.name], run, judged),
            _archive(kept[run.name], run),
            [folder.name for folder in yours[run.name].evaluation_folders() if folder.name not in evaluated],
        )
    return [*agreements.values()]


def differing(first: Path, second: Path) -> list[Path]:
    """What `first` keeps of a run and is not in `second` byte for byte; evaluations that one lacks do not count."""
    paths = []
    for name in KEPT:
        for path in _files(first / name):
            inside = path.relative_to(first)
            twin = second / inside
            if not twin.exists() and name == "eval":
                continue
            if not twin.exists() or path.read_bytes() != twin.read_bytes():
                paths.append(inside)
    return paths


def _files(path: Path) -> list[Path]:
    """The file itself, or all in the folder."""
    return [path] if path.is_file() else [*filter(Path.is_file, sorted(path.rglob("*")))]


def _print(agreement: Agreement, expected: Path) -> None:
    if not agreement.differing:
        print(f"{agreement.run}: the same as {expected / agreement.run}, bit for bit")
        return

    count = f"{agreement.judged} values within"
    if agreement.outside:
        count = f"{len(agreement.outside)} of {agreement.judged} values outside"
    reasons = "".join(f"{reason}; " for reason in (agreement.archive, agreement.apart) if reason)
    print(
        f"{agreement.run}: {not_the_same(agreement.differing)}; {reasons}{count} the spread over seeds",
        *agreement.outside,
        *(f"  {evaluation}: of other images, not compared" for evaluation in agreement.other_images),
        sep="\n",
    )


def _evaluations_of(runs: Runs) -> dict[str, Evaluations]:
    """Run -> the evaluations that it has: of another's run of that name no other is looked at, as an earlier tier may
    have left it."""
    evaluations: dict[str, Evaluations] = dict.fromkeys(runs.broken)
    for run in runs:
        evaluations[run.name] = [folder.name for folder in run.evaluation_folders()]
    return evaluations


def _same_numbers(kept: RunFolder, yours: RunFolder) -> None:
    images: Images = "data" if _archive(kept, yours) else "data_sha256"
    other = difference(kept.summary, yours.summary, images)
    if other:
        raise UserError(
            f"{kept.name}: found {other.key} {other.wanted}, but {other.recorded} in the expected run; "
            "compare runs of the same parameters"
        )


def _archive(kept: RunFolder, yours: RunFolder) -> str:
    """Where two packs differ and one list names the images of both, that the archive is another; else empty.

    A pack keeps its archives' checksums: an archive of the listed images alone gives another than the official one.
    """
    if kept.summary["data_sha256"] == yours.summary["data_sha256"]:
        return ""
    listed = _listed(kept)
    return "the listed images, of another archive" if listed and listed == _listed(yours) else ""


def _listed(run: RunFolder) -> tuple[Any, Any] | None:
    """The source and the selection of its images, where they are chosen by a list of their names."""
    origin = run.summary["provenance"]
    selection = origin.get("selection")
    split = selection.get("split") if isinstance(selection, Mapping) else None
    return (origin.get("source"), selection) if isinstance(split, Mapping) and "list" in split else None


def _of_the_same_images(kept: RunFolder, yours: RunFolder) -> RunFolder:
    """Without its evaluations of a target whose pack is another than the expected run's."""
    compared = []
    for folder in yours.evaluation_folders():
        expected, own = kept.evaluations(folder.name), yours.evaluations(folder.name)
        common = expected.keys() & own.keys()
        _, target = evaluation_and_target(folder.name)
        if target is None or all(expected[number].data_sha256 == own[number].data_sha256 for number in common):
            compared.append(folder.name)
    return RunFolder(yours.folder, yours.summary, compared)


def _same_protocols(kept: RunFolder, yours: RunFolder) -> None:
    """Of the evaluations that both have: all parameters but those that change no value beyond rounding."""
    for folder in kept.evaluation_folders():
        name, evaluation = folder.name, evaluation_in(folder.name)
        own = yours.evaluations(name)
        for generation, file in kept.evaluations(name).items():
            if evaluation and generation in own:
                _same_protocol(kept.name, name, file, own[generation], evaluation.free)


def _same_protocol(run: str, name: str, kept: EvaluationFile, yours: EvaluationFile, free: Sequence[str]) -> None:
    for key in sorted(kept.params.keys() | yours.params.keys()):
        expected, ours = kept.params.get(key), yours.params.get(key)
        if key not in free and expected != ours:
            raise UserError(
                f"{run}: found {key} {ours} in {name}, but {expected} in the expected run; "
                "compare evaluations of the same parameters"
            )


def _apart(kept: RunFolder, yours: RunFolder, judged: int) -> str:
    """Why two runs cannot agree, whatever their values; empty where they can.

    The batch in which a loss overflows differs with rounding; that it does, and in which generation, is the result.
    """
    if kept.diverged_in == yours.diverged_in:
        return "" if judged else "no value to compare"
    return f"it {_ending(yours)}, the expected run {_ending(kept)}"


def _ending(run: RunFolder) -> str:
    return "did not diverge" if run.diverged_in is None else f"diverged in generation {run.diverged_in}"
