"""Checks a bundle: its files by their checksums, and an evaluation by running it again from the weights within.

`seal check` calls it. The evaluation runs as the pipeline's stage does, in a folder that holds what the bundle has of
the run; images are fetched and packed there as the pipeline does.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from seal.config import load_params
from seal.errors import UserError, printable
from seal.evaluations import EVALUATIONS, Evaluation, evaluation_and_target
from seal.evidence import Open, as_written, check_facts, read_checked_json
from seal.measure import numbers_of
from seal.record import RESULTS, file_sha256
from seal.release.archive import LISTS, Bundle, open_bundle
from seal.runs import RunFolder

PLACE = Path("check")  # what a check unpacks, a folder a bundle; images stay there for the next one
# A processor that rounds otherwise turns an image's class here and there: a point of a share, a hundredth of the rest.
TOLERANCE = 0.01
SAME, CLOSE, OTHER = "the same values", "within the tolerance", "other values"


class Evaluated(Open):
    data_sha256: str


def check(path: Path, run: str | None = None, evaluation: str | None = None) -> bool:
    """Print whether the bundle is whole, and whether the run's evaluation gives its values again. Gives whether all is
    as the bundle says.

    Raises UserError for what is no bundle, or has no such run, evaluation or weights.
    """
    if (run is None) != (evaluation is None):
        raise UserError("found one of --run and --evaluation, expected both, or neither to check the files alone")

    with open_bundle(path) as bundle:
        facts = bundle.facts
        print(f"{path}: {len(bundle.checksums)} files, each as its checksum says; tier {printable(facts.tier)}")
        print(printable(f"weights of {_listed(bundle)}"))
        for name, command in facts.gone.items():
            print(printable(f"weights of {name} are gone; {command} makes them"))
        if run is None or evaluation is None:
            return True

        place = PLACE / path.stem
        names = _evaluations_of(bundle, run, evaluation)
        bundle.extract(("params.yaml", f"{LISTS}/", f"{RESULTS}/{run}/"), place)
    agreements = [_runs_again(place, run, EVALUATIONS[evaluation], name) for name in names]
    return all(agreements)


def _evaluations_of(bundle: Bundle, run: str, evaluation: str) -> list[str]:
    """The evaluation's folders in the bundle, one a target."""
    if evaluation not in EVALUATIONS:
        raise UserError(f"--evaluation {evaluation}: no such evaluation, expected one of {', '.join(EVALUATIONS)}")
    if run in bundle.facts.gone:
        raise UserError(f"--run {run}: its weights are gone; {bundle.facts.gone[run]} makes them")
    if run not in bundle.facts.weights:
        raise UserError(f"--run {run}: the bundle has no weights of it, expected one of {_listed(bundle)}")

    names = set()
    for member in bundle.checksums:
        parts = member.split("/")
        if parts[:3] == [str(RESULTS), run, "eval"] and evaluation_and_target(parts[3])[0] == evaluation:
            names.add(parts[3])
    if not names:
        raise UserError(f"--evaluation {evaluation}: the bundle has none of {run}; `dvc repro {evaluation}` makes it")
    return sorted(names)


def _listed(bundle: Bundle) -> str:
    return ", ".join(bundle.facts.weights) or "no run"


def _runs_again(place: Path, run: str, evaluation: Evaluation, name: str) -> bool:
    """Run one evaluation in `place` and print how it agrees with what stood there. Gives whether it does."""
    module, target = evaluation_and_target(name)
    folder = place / RESULTS / run / "eval" / name
    last = folder / f"gen-{RunFolder.read(place / RESULTS / run).last:02d}.json"
    if not last.is_file():
        print(f"{run}, {name}: the record has none of the last generation; nothing to compare")
        return True

    recorded = read_checked_json(last)
    check_facts(Evaluated, recorded, last)
    _images(place, target or load_params(place / "params.yaml").source, recorded["data_sha256"])
    arguments = ["--run", run, *(["--target", target] if target else [])]
    _call(place, f"eval.{module}", *arguments)
    if not last.is_file():
        raise UserError(f"{folder}: found no {last.name} after the evaluation, expected one; see skipped.json there")
    with as_written(last):
        return _agrees(f"{run}, {name}", evaluation, recorded, read_checked_json(last))


def _images(place: Path, dataset: str, expected: str) -> None:
    """Fetch and pack a dataset in `place`. Raises UserError where its pack is not the record's."""
    pack = place / f"data/packs/{dataset}.safetensors"
    if not pack.is_file() or file_sha256(pack) != expected:
        _call(place, "seal.data.fetch", dataset)
        _call(place, "seal.data.packing", dataset)
    if file_sha256(pack) != expected:
        raise UserError(
            f"{pack}: found other images than the record's (or none), expected a pack of SHA-256 {expected[:16]}...; "
            "`python -m seal.data.fetch` there says which archives it found"
        )


def _call(place: Path, module: str, *arguments: str) -> None:
    """Run a stage in `place`, where nothing is imported from: a bundle's files are data."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DVC_STAGE", "SEAL_STAGE")}
    command = [sys.executable, "-P", "-m", module, *arguments]
    done = subprocess.run(command, cwd=place, env=environment, check=False)
    if done.returncode:
        raise UserError(f"{module} {' '.join(arguments)} ended with status {done.returncode} in {place}; see above")


def _agrees(words: str, evaluation: Evaluation, recorded: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    for key in ("checkpoint_sha256", "data_sha256", "params"):
        if recorded[key] != again[key]:
            raise UserError(f"{words}: found another {key} than in the record; the bundle is not of one study")
    if recorded["values"] == again["values"]:
        print(f"{words}: {SAME}")
        return True

    apart = {}
    for name, measure in evaluation.measures.items():
        expected = dict(numbers_of(recorded["values"], measure))
        actual = dict(numbers_of(again["values"], measure))
        for key, value in expected.items():
            apart[f"{name} {key}"] = abs(actual.get(key, inf) - value) / max(1.0, abs(value))
    if not apart:
        print(f"{words}: {OTHER}, and no number among them to say by how much")
        return False

    worst = max(apart, key=apart.__getitem__)
    verdict = CLOSE if apart[worst] <= TOLERANCE else OTHER
    print(f"{words}: {verdict}: {worst} is {apart[worst]:.1e} apart, tolerance {TOLERANCE} of max(1, value)")
    return apart[worst] <= TOLERANCE
