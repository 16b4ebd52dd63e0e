"""Sentences under the report's figures: the numbers are those of the curves, whichever arm leads."""

import pytest

from eval.report import captions
from eval.report.figures import training_curves

BLOCKS = ["Conv1", "Block2.1", "Block3.1"]
CURVES = {"normal": [[0.1, 0.2, 0.3], [0.1, 0.4, 0.5]], "seal": [[0.2, 0.5, 0.2], [0.2, 0.5, 0.4]]}


def test_figure_2_names_the_lowest_and_the_highest_and_counts_the_leads() -> None:
    text = captions.probe_accuracy(BLOCKS, CURVES)
    assert "at Block2.1 from 30.0% [20.0, 40.0] (Normal) to 50.0% [50.0, 50.0] (SEAL)" in text
    assert "at Block3.1 from 30.0% [20.0, 40.0] (SEAL) to 40.0% [30.0, 50.0] (Normal)" in text
    assert "Of 3 blocks, highest are Normal at 1, SEAL at 2. Brackets: lowest and highest of 2 seeds." in text


def test_figure_3_gives_changes_seed_by_seed_and_leaves_out_arms_with_one_generation() -> None:
    grown = [[each + 0.1 for each in CURVES["seal"][0]], [each - 0.3 for each in CURVES["seal"][1]]]
    text = captions.probe_accuracy_by_generation(
        BLOCKS, {"normal": {1: CURVES["normal"]}, "seal": {1: CURVES["seal"], 3: grown}}
    )
    assert text.startswith(
        " Change from the first to the last, in points, at Block2.1 and Block3.1: SEAL -10.0 [-30.0,"
    )
    assert "Normal" not in text
    assert captions.probe_accuracy_by_generation(BLOCKS, {"normal": {1: CURVES["normal"]}}) == ""


def history(train: list[float], phases: str) -> list[dict[str, object]]:
    kinds = {"a": "ascent", "d": "descent"}
    return [
        {"global_epoch": place, "phase": kinds[phase], "train_accuracy": value, "val_accuracy": value / 2}
        for place, (value, phase) in enumerate(zip(train, phases, strict=True))
    ]


@pytest.mark.parametrize(("phases", "highest"), [("daddad", "60.0%"), ("daadad", "60.0%"), ("dadddd", "10.0%")])
def test_training_says_where_the_ascents_end(phases: str, highest: str) -> None:
    seal = history([0.9, 0.1, 0.2, 0.8, 0.6, 0.7], phases)
    text = captions.training({"normal": [history([0.95], "d")], "seal": [seal]})
    ends = "Training ends at 70.0% (SEAL) to 95.0% (Normal). One seed."
    assert text == f" The highest running accuracy in an ascent's last epoch is {highest} (SEAL). {ends}"
    assert captions.training({"normal": [history([0.95], "d")]}) == " Training ends at 95.0% (Normal). One seed."


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ({"normal": 0, "seal": 0}, "seed 0"),
        ({"llf": 3}, "seed 3"),
        ({"normal": 0, "seal": 1}, "seed 0 of Normal, 1 of SEAL"),
    ],
)
def test_curves_of_one_seed_name_it(seeds: dict[str, int], words: str) -> None:
    """An arm's first seed may be BROKEN, and its curve is then another's than the other arms'."""
    assert captions.seeds_shown(seeds) == words


@pytest.mark.parametrize("accuracy", [0.0, 0.5])
def test_an_epoch_in_which_nothing_was_right_is_drawn(accuracy: float) -> None:
    rows = [row | {"generation": 1, "epoch": row["global_epoch"]} for row in history([accuracy, 0.5], "dd")]
    whole = training_curves({"normal": rows}, "salt")
    unmeasured = training_curves({"normal": [rows[0] | {"train_accuracy": None}, rows[1]]}, "salt")
    assert whole != unmeasured
