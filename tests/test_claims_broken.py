"""Evidence that cannot be used is one line that names the file, never a verdict."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.claims.__main__ import recorded_runs
from seal.errors import UserError
from seal.evidence import BrokenEvidence
from seal.record import read_json, write_json
from seal.runs import Runs
from tests.claim_records import SEEDS, N, verdicts, write_evaluation, write_transfer


def poison_array(study: Path) -> Path:
    np.savez(study / "llf-1/predictions/gen-03.npz", correct=np.full(N, np.nan))
    return study / "llf-1/predictions/gen-03.npz"


def poison_summary(study: Path) -> Path:
    path = study / "llf-1/summary.json"
    path.write_text(path.read_text().replace('"test_accuracy": 0.6', '"test_accuracy": NaN, "was": 0.6'))
    return path


def remove_predictions(study: Path) -> Path:
    (study / "llf-1/predictions/gen-03.npz").unlink()
    return study / "llf-1/predictions/gen-03.npz"


def shorten_predictions(study: Path) -> Path:
    np.savez(study / "llf-1/predictions/gen-03.npz", correct=np.ones(7))
    return study / "llf-1/predictions/gen-03.npz"


def spoil_json(study: Path) -> Path:
    path = study / "llf-1/summary.json"
    path.write_text(path.read_text()[:-40])
    return path


def spoil_arrays(study: Path) -> Path:
    path = study / "llf-1/predictions/gen-03.npz"
    path.write_bytes(path.read_bytes()[:50])
    return path


def empty_evaluation(study: Path) -> Path:
    write_transfer(study, "digits", {"seal": 0.7, "normal": 0.5, "normal_long": 0.4, "llf": 0.6})
    folder = study / "llf-1/eval/transfer-digits"
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


def null_in_evaluation(study: Path) -> Path:
    write_transfer(study, "digits", {"seal": 0.7, "normal": 0.5, "normal_long": 0.4, "llf": 0.6})
    path = study / "llf-1/eval/transfer-digits/gen-03.json"
    write_json(path, read_json(path) | {"values": {"paper": {"accuracy": None}}})
    return path


def drop_a_key(study: Path) -> Path:
    path = null_in_evaluation(study)
    write_json(path, read_json(path) | {"values": {}})
    return path


def drop_the_blocks(study: Path) -> Path:
    for seed in SEEDS:
        write_evaluation(study, f"seal-{seed}", "prediction_depth", {}, {})
    return study / "seal-0/eval/prediction_depth/gen-03.json"


def lose_the_schedule(study: Path) -> Path:
    path = study / "llf-1/summary.json"
    path.write_text(path.read_text().replace('"schedule"', '"shedule"'))
    return path


def count_the_outcomes(study: Path) -> Path:
    path = study / "llf-1/summary.json"
    write_json(path, read_json(path) | {"outcomes": 5})
    return path


def cut_the_history(study: Path) -> Path:
    path = study / "seal-1/history.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")  # the last generation's ascent and end
    return path


def number_for_shots(study: Path) -> Path:
    for arm in ("seal", "llf", "normal_long"):
        write_evaluation(study, f"{arm}-0", "fewshot-eurosat", {"shots": {"5": 7}}, {})
    return study / "seal-0/eval/fewshot-eurosat/gen-03.json"


def empty_the_hessian(study: Path) -> Path:
    write_evaluation(study, "seal-0", "hessian", {}, {})
    return study / "seal-0/eval/hessian/gen-03.json"


def drop_the_labels(study: Path) -> Path:
    values = {"blocks": ["Block2.1"], "knn_accuracy": [0.5], "mean_depth": 1.0}
    for arm in ("seal", "llf"):
        write_evaluation(study, f"{arm}-0", "prediction_depth", values, {"votes": np.ones((N, 1)), "depth": np.ones(N)})
    return study / "seal-0/eval/prediction_depth/gen-03.npz"


@pytest.mark.parametrize(
    "damage",
    [
        lose_the_schedule, count_the_outcomes, cut_the_history, drop_the_labels, poison_array, poison_summary,
        remove_predictions, shorten_predictions, spoil_json, spoil_arrays, empty_evaluation, null_in_evaluation,
    ],
)  # fmt: skip
def test_broken_evidence_is_no_evidence_and_its_file_is_named(study: Path, damage: Callable[[Path], Path]) -> None:
    path = damage(study)
    broken = Runs.read([study]).broken
    assert path.relative_to(study).parts[0] in broken
    assert any(str(path) in reason for reason in broken.values())
    assert not any("\n" in reason for reason in broken.values())
    assert verdicts(study)["seal_over_normal_long"].judged, "the others are judged as ever"


@pytest.mark.parametrize("damage", [number_for_shots, empty_the_hessian, drop_a_key, drop_the_blocks])
def test_a_number_that_is_not_there_is_missed_where_a_claim_asks_for_it(
    study: Path, damage: Callable[[Path], Path]
) -> None:
    path = damage(study)
    with pytest.raises(BrokenEvidence) as caught:
        verdicts(study)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_run_broken_ends_in_one_line(study: Path) -> None:
    for path in study.glob("*/history.csv"):
        path.unlink()
    with pytest.raises(UserError, match=r"found no run's folder with a sound record.*BROKEN: .*history.csv: not found"):
        recorded_runs([study])
