"""Records of other versions: a key more or less, in any section, and the verdicts are the same."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from eval.claims.output import as_json
from eval.claims.verdicts import evaluate_claims
from seal.errors import UserError
from seal.record import read_json, write_json
from seal.runs import Runs
from tests.claim_records import CLAIMS, ROOT

KEPT = ROOT / "expected/mini"
RUNS = ("normal-0", "normal_long-0", "llf-0", "seal-0")
NEEDED = {"num_generations", "schedule", "layer_threshold", "on_divergence"}  # what claims ask of how a run was trained
Section = dict[str, Any]


def judged(folder: Path) -> list[Section]:
    """Every claim with its verdict, numbers and reasons."""
    runs = Runs.read([folder], dict.fromkeys(RUNS))
    document = as_json(runs, CLAIMS, evaluate_claims(runs, CLAIMS), {})
    claims: list[Section] = json.loads(json.dumps(document["claims"]))
    return claims


@cache
def judged_as_kept() -> list[Section]:
    return judged(KEPT)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Four runs of the committed record, whose JSON may be changed; arrays are links."""

    def copy(source: str, target: str) -> None:
        if source.endswith(".npz"):
            Path(target).symlink_to(source)
        else:
            shutil.copyfile(source, target)

    for name in RUNS:
        shutil.copytree(KEPT / name, tmp_path / name, copy_function=copy)
    return tmp_path


def change(record: Path, pattern: str, key: str, edit: Callable[[Section], None]) -> None:
    """Edit what stands at `key`, made where there is none, in each of these files."""
    paths = sorted(record.glob(pattern))
    assert paths
    for path in paths:
        document = read_json(path)
        section = document.setdefault(key, {})
        for part in section if isinstance(section, list) else [section]:
            edit(part)
        write_json(path, document)


def add_a_key(section: Section) -> None:
    section["of_a_later_version"] = {"any": ["value"]}


def drop_what_claims_do_not_need(section: Section) -> None:
    for key in set(section) - NEEDED:
        del section[key]


@pytest.mark.parametrize("section", ["generations", "training", "model", "options", "outcomes", "provenance"])
def test_a_key_more_in_a_summary_changes_no_verdict(record: Path, section: str) -> None:
    change(record, "*/summary.json", section, add_a_key)
    assert judged(record) == judged_as_kept()


@pytest.mark.parametrize("section", ["params", "values"])
def test_a_key_more_in_an_evaluation_changes_no_verdict(record: Path, section: str) -> None:
    change(record, "*/eval/*/gen-*.json", section, add_a_key)
    assert judged(record) == judged_as_kept()


@pytest.mark.parametrize("section", ["generations", "training", "model", "options", "provenance"])
def test_a_key_less_in_a_summary_changes_no_verdict(record: Path, section: str) -> None:
    change(record, "*/summary.json", section, drop_what_claims_do_not_need)
    assert judged(record) == judged_as_kept()


def test_an_evaluation_without_its_parameters_changes_no_verdict(record: Path) -> None:
    change(record, "*/eval/*/gen-*.json", "params", drop_what_claims_do_not_need)
    assert judged(record) == judged_as_kept()


@pytest.mark.parametrize("side", ["zero", "uniform"])
def test_a_record_older_than_a_choice_is_of_the_side_that_there_was(record: Path, side: str) -> None:
    """The classifier's bias began at zero before params.yaml could say otherwise."""
    change(record, "seal-0/summary.json", "model", lambda model: model.update(classifier_bias=side))
    if side == "zero":
        assert judged(record) == judged_as_kept()
        return
    with pytest.raises(UserError, match="model"):
        judged(record)


def test_a_method_s_numbers_may_stand_in_a_section_of_their_own(record: Path) -> None:
    for path in sorted(record.glob("*/summary.json")):
        summary = read_json(path)
        generations = summary["generations"]
        summary["options"] = {key: generations.pop(key) for key in set(generations) - NEEDED}
        write_json(path, summary)
    assert judged(record) == judged_as_kept()


def test_the_record_bears_on_every_kind_of_evaluation() -> None:
    """Else the tests above would compare nothing."""
    decided = [claim for claim in judged_as_kept() if "mean" in claim["comparisons"][0]]
    assert {"train", "transfer", "fewshot", "prediction_depth", "hessian"} <= {claim["needs"][0] for claim in decided}
