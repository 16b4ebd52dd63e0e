"""The one check of a run: parts of two runs that were swapped, and numbers that cannot be, are no evidence."""

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seal.evidence import BrokenEvidence, finite, read_summary
from seal.record import HISTORY_COLUMNS, Row, file_sha256, read_history, read_json, write_csv, write_json
from seal.run_folder import RunFolder
from seal.runs import Runs
from seal.soundness import sound_run

KEPT = Path(__file__).parents[1] / "expected/mini"
RUN, OTHER = "seal-0", "llf-1"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    for name in (RUN, OTHER):
        shutil.copytree(KEPT / name, tmp_path / name)
    return tmp_path


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = read_json(path)
    edit(document)
    write_json(path, document)


def swapped(part: str) -> Callable[[Path], str]:
    def swap(record: Path) -> str:
        shutil.copy(record / OTHER / part, record / RUN / part)
        return part

    return swap


def outcome_of(**values: object) -> Callable[[Path], str]:
    def edit(record: Path) -> str:
        path = record / RUN / "summary.json"
        text = path.read_text()
        for key, value in values.items():
            was = read_json(path)["outcomes"][1][key]
            assert f'"{key}": {was}' in text
            text = text.replace(f'"{key}": {was}', f'"{key}": {value}')
        path.write_text(text)
        return "summary.json"

    return edit


def evaluation_of(name: str, **facts: object) -> Callable[[Path], str]:
    def edit(record: Path) -> str:
        path = next(iter(sorted((record / RUN / "eval" / name).glob("gen-*.json"))))
        change(path, lambda document: document.update(facts))
        return f"eval/{name}"

    return edit


def value_of(name: str, keys: str, value: float) -> Callable[[Path], str]:
    def edit(record: Path) -> str:
        def put(document: dict[str, Any]) -> None:
            section = document["values"]
            *path, last = keys.split(".")
            for key in path:
                section = section[key]
            section[last] = value

        change(record / RUN / f"eval/{name}/gen-03.json", put)
        return f"eval/{name}"

    return edit


def two_images_more(name: str) -> Callable[[Path], str]:
    def edit(record: Path) -> str:
        values = read_json(record / RUN / f"eval/{name}/gen-03.json")["values"]
        accuracy = values["paper"]["accuracy"] + 2 / values["test_images"]
        return value_of(name, "paper.accuracy", accuracy)(record)

    return edit


def other_items(record: Path) -> str:
    path = record / RUN / "eval/transfer-eurosat/gen-03.npz"
    with np.load(path) as arrays:
        turned = {name: 1 - values for name, values in arrays.items()}
    np.savez(path, **turned)
    return "eval/transfer-eurosat"


def without_column(name: str) -> Callable[[Path], str]:
    def remove(record: Path) -> str:
        path = record / RUN / "history.csv"
        rows = read_history(path)
        write_csv(path, [column for column in HISTORY_COLUMNS if column != name], [without(row, name) for row in rows])
        return f"history.csv: found no column {name}"

    return remove


def without(row: Row, name: str) -> Row:
    return {column: value for column, value in row.items() if column != name}


def items_of_the_other(record: Path) -> str:
    swapped("eval/transfer-eurosat/gen-03.npz")(record)
    return "gen-03.npz"


def other_weights(record: Path) -> str:
    """Weights lie there that no evaluation looked at."""
    (record / RUN / "weights").mkdir()
    (record / RUN / "weights/gen-03.safetensors").write_bytes(b"other")
    return "checkpoint_sha256"


def a_generation_more(record: Path) -> str:
    change(record / RUN / "summary.json", lambda summary: summary["outcomes"].pop(0))
    return "outcomes"


def another_final(record: Path) -> str:
    change(record / RUN / "summary.json", lambda summary: summary["final"].update(test_accuracy=0.9))
    return "final"


def a_file_named(name: str) -> Callable[[Path], str]:
    def copy(record: Path) -> str:
        folder = record / RUN / "eval/hessian"
        shutil.copy(folder / "gen-03.json", folder / name)
        with pytest.raises(BrokenEvidence, match=f"its name: found {re.escape(name)}, expected gen-NN.json"):
            RunFolder.read(record / RUN).evaluations("hessian")
        return name

    return copy


def of_another_version(record: Path) -> str:
    folder = shutil.copytree(record / RUN / "eval/hessian", record / RUN / "eval/sharpness")
    for path in folder.glob("gen-*.json"):
        change(path, lambda document: document.update(evaluation="sharpness", values=3))
    return "eval/sharpness"


FAULTS = {
    "predictions": swapped("predictions/gen-02.npz"),
    "the last predictions": swapped("predictions/gen-03.npz"),
    "history": swapped("history.csv"),
    "a history without what decides R2": without_column("clean_accuracy_batch_statistics"),
    "a history without a rate": without_column("lr_late"),
    "summary": swapped("summary.json"),
    "a transfer": swapped("eval/transfer-eurosat/gen-03.json"),
    "few shots": swapped("eval/fewshot-eurosat/gen-03.json"),
    "curvature": swapped("eval/hessian/gen-03.json"),
    "depth": swapped("eval/prediction_depth/gen-02.json"),
    "items of a transfer": items_of_the_other,
    "an accuracy of 200": outcome_of(test_accuracy=200),
    "an accuracy below none": outcome_of(test_accuracy=-0.1),
    "an accuracy that is not the mean": outcome_of(test_accuracy=0.5),
    "a validation accuracy of 2": outcome_of(val_accuracy=2.0),
    "a loss that is no number": outcome_of(test_loss="NaN"),
    "an infinite loss": outcome_of(test_loss="Infinity"),
    "a loss of 400 digits": outcome_of(test_loss="9" * 400),
    "a norm in quotes": outcome_of(norm_early='"20"'),
    "another arm": evaluation_of("hessian", arm="llf"),
    "another seed": evaluation_of("transfer-eurosat", seed=1),
    "another tier": evaluation_of("transfer-digits", tier="smoke"),
    "another generation": evaluation_of("hessian", generation=1),
    "another target": evaluation_of("transfer-digits", target="eurosat"),
    "another evaluation": evaluation_of("transfer-digits", evaluation="fewshot"),
    "other data": evaluation_of("hessian", data_sha256="0" * 64),
    "another checkpoint": evaluation_of("hessian", checkpoint_sha256="0" * 64),
    "weights that were not looked at": other_weights,
    "a transfer of 200%": value_of("transfer-eurosat", "paper.accuracy", 2.0),
    "a transfer that is not the mean": value_of("transfer-eurosat", "paper.accuracy", 0.5),
    "a transfer of two images more than the mean": two_images_more("transfer-eurosat"),
    "few shots below none": value_of("fewshot-eurosat", "shots.5.accuracy", -0.5),
    "a depth that is not the mean": value_of("prediction_depth", "mean_depth", 1.0),
    "an eigenvalue that is no number": value_of("hessian", "lanczos.max_eigenvalue", True),
    "a share of negatives above one": value_of("hessian", "lanczos.negative_fraction", 1.5),
    "items turned round": other_items,
    "a generation that is not told": a_generation_more,
    "another final": another_final,
    "a file of no generation": a_file_named("gen-best.json"),
    "a copied file": a_file_named("gen-01 (copy).json"),
    "a raised number": a_file_named("gen-\u00b2.json"),
    "values that are a number": evaluation_of("hessian", values=3),
    "parameters that are a list": evaluation_of("transfer-digits", params=[1]),
    "another version's values that are a number": of_another_version,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_contradicts_itself_is_broken_and_the_file_is_named(record: Path, fault: str) -> None:
    part = FAULTS[fault](record)
    with pytest.raises(BrokenEvidence) as caught:
        sound_run(record / RUN)
    assert part in str(caught.value)
    assert str(caught.value).startswith(str(record / RUN))
    assert "\n" not in str(caught.value)


NO_SECTION: tuple[Any, ...] = (3, "x", ["x"])
OF_ANOTHER_KIND: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("model", "training", "generations", "options", "provenance"), (None, *NO_SECTION)),
    **dict.fromkeys(("final", "diverged"), NO_SECTION),
    **dict.fromkeys(("method", "tier", "data"), (None, 3, ["x"], {})),
    "seed": (None, 0.5, "0", True), "outcomes": (None, *NO_SECTION, [{}]),
}  # fmt: skip


@pytest.mark.parametrize("key", OF_ANOTHER_KIND)
def test_what_is_of_another_kind_than_a_summary_has_is_broken_for_all_who_read_it(record: Path, key: str) -> None:
    """The commands go by Runs.read, a study by read_summary."""
    path = record / RUN / "summary.json"
    whole = read_json(path)
    for value in OF_ANOTHER_KIND[key]:
        write_json(path, whole | {key: value})
        with pytest.raises(BrokenEvidence, match=re.escape(f"{path}: {key}")) as caught:
            read_summary(path)
        assert "\n" not in str(caught.value)
        assert Runs.read([record]).broken == {RUN: str(caught.value)}


@pytest.mark.parametrize("value", NO_SECTION)
def test_a_best_epoch_that_is_no_section_is_broken(record: Path, value: Any) -> None:
    path = record / RUN / "summary.json"
    whole = read_json(path)
    write_json(path, whole | {"final": whole["final"] | {"best": value}})
    with pytest.raises(BrokenEvidence, match=re.escape(f"{path}: final.best")):
        read_summary(path)

    whole["outcomes"][1]["best"] = value
    write_json(path, whole)
    with pytest.raises(BrokenEvidence, match=re.escape(f"{path}: outcomes.1.best")):
        read_summary(path)


@pytest.mark.parametrize("value", [None, True, "3", [3], math.nan, -math.inf, 10**400])
def test_what_is_no_finite_number_is_broken(value: Any) -> None:
    with pytest.raises(BrokenEvidence, match=r"^summary\.json: classes: found .{1,200}, expected a finite number"):
        finite(value, Path("summary.json"), "classes")


def test_weights_that_evaluations_looked_at_are_sound(record: Path) -> None:
    folder = record / RUN
    (folder / "weights").mkdir()
    (folder / "weights/gen-03.safetensors").write_bytes(b"these")
    sha256 = file_sha256(folder / "weights/gen-03.safetensors")
    for path in folder.glob("eval/*/gen-03.json"):
        change(path, lambda document: document.update(checkpoint_sha256=sha256))
    sound_run(folder)


@pytest.mark.parametrize("study", sorted({path.parents[1].name for path in KEPT.parent.glob("*/*/summary.json")}))
def test_every_committed_run_is_sound(study: str) -> None:
    for summary in sorted((KEPT.parent / study).glob("*/summary.json")):
        sound_run(summary.parent)
