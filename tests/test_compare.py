"""`seal compare`: whether a reader's runs agree with committed ones."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seal.errors import UserError
from seal.evaluations import EVALUATIONS
from seal.measure import Measure
from seal.record import read_json, write_json
from seal.runs import RunFolder
from seal.study.compare import compare
from seal.study.spread import LEVEL, half_width, judged_values, pooled_deviation

MINI = Path(__file__).parents[1] / "expected/mini"

SUMMARY = {
    "tier": "mini",
    "method": "seal",
    "data": "tiny_imagenet",
    "data_sha256": "aa",
    "provenance": {},
    "training": {"batch_size": 32},
    "generations": {"num_generations": 1, "schedule": "per_generation", "layer_threshold": "layer3"},
    "outcomes": [],
    "diverged": None,
}


def write_run(folder: Path, test: float, depth: float | None = None, width: int = 16) -> None:
    (folder / "predictions").mkdir(parents=True)
    (folder / "predictions/gen-01.npz").write_bytes(b"right")
    (folder / "history.csv").write_text(f"generation,test\n1,{test}\n")
    write_json(folder / "metrics.json", {"test_accuracy": test})
    arm, _, seed = folder.name.rpartition("-")
    final = {"test_accuracy": test, "best": {"test_accuracy": 0.9}}
    facts = {"arm": arm, "seed": int(seed), "model": {"width": width}, "final": final}
    write_json(folder / "summary.json", SUMMARY | facts)
    if depth is not None:
        found = {"values": {"mean_depth": depth}, "params": {"k": 5, "memory_mb": 64}}
        write_json(folder / "eval/prediction_depth/gen-01.json", found)


@pytest.fixture(autouse=True)
def comparing_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """These records say only what is compared; whether a run holds together is asked where the committed ones are."""
    if "committed" not in request.fixturenames:
        monkeypatch.setattr("seal.runs.sound_run", RunFolder.read)


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    for seed in (0, 1):
        shutil.copytree(MINI / f"normal-{seed}", tmp_path / f"committed/normal-{seed}")
    return tmp_path / "committed"


BREAKS: dict[str, Callable[[Path], object]] = {
    "predictions of another run": lambda folder: shutil.copy(
        folder.with_name("normal-1") / "predictions/gen-01.npz", folder / "predictions/gen-01.npz"
    ),
    "an evaluation of another run": lambda folder: shutil.copy(
        folder.with_name("normal-1") / "eval/hessian/gen-01.json", folder / "eval/hessian/gen-01.json"
    ),
    "a summary that is cut off": lambda folder: (folder / "summary.json").write_text("{"),
    "an accuracy of 200": lambda folder: change(folder / "summary.json", final={"test_accuracy": 200}),
}


@pytest.mark.parametrize("fault", BREAKS)
@pytest.mark.parametrize("side", ["found", "expected"])
def test_a_broken_run_is_named_and_agrees_with_nothing(
    committed: Path, fault: str, side: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    shutil.copytree(committed, own)
    assert compare(committed, own)
    assert "BROKEN" not in capsys.readouterr().out

    folder = (own if side == "found" else committed) / "normal-0"
    BREAKS[fault](folder)
    assert not compare(committed, own)
    said = capsys.readouterr().out
    assert f"BROKEN, and agrees with nothing: {folder}" in said
    assert "normal-1: the same as" in said, "others are compared"

    shutil.rmtree(own / "normal-1")
    with pytest.raises(UserError, match=f"no run that .* has too.*BROKEN: {folder}"):
        compare(committed, own)


def test_an_evaluation_that_an_earlier_tier_has_left_is_not_looked_at(
    committed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(committed, tmp_path / "own")
    left = own / "normal-0/eval/transfer-mnist_5k/gen-01.json"
    left.parent.mkdir()
    write_json(left, read_json(own / "normal-0/eval/transfer-digits/gen-01.json") | {"tier": "smoke"})
    assert compare(committed, own)
    assert "BROKEN" not in capsys.readouterr().out

    shutil.copytree(left.parent, committed / "normal-0/eval/transfer-mnist_5k")
    assert not compare(committed, own)
    assert "BROKEN" in capsys.readouterr().out


def change(path: Path, **values: Any) -> None:
    write_json(path, read_json(path) | values)


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    for seed, (normal, seal) in enumerate([(0.50, 0.60), (0.51, 0.62), (0.52, 0.61)]):
        write_run(tmp_path / f"expected/normal-{seed}", normal)
        write_run(tmp_path / f"expected/seal-{seed}", seal, depth=5 + seed / 10)
    return tmp_path / "expected"


def test_a_copy_is_the_same_bits(expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(expected / "seal-1", tmp_path / "results/seal-1")
    assert compare(expected, tmp_path / "results")
    said = capsys.readouterr().out
    assert "seal-1: the same as" in said
    assert "not in" in said, "what the reader has not run is named"
    (tmp_path / "results/seal-1/predictions/gen-01.npz").write_bytes(b"wrong")
    assert compare(expected, tmp_path / "results"), "other bits of the same accuracy"
    assert "seal-1: not the same bits in predictions/gen-01.npz; 2 values within" in capsys.readouterr().out


@pytest.mark.parametrize(("test", "depth", "agrees"), [(0.63, 5.2, True), (0.40, 5.2, False), (0.61, 9.0, False)])
def test_other_bits_are_held_against_the_spread(
    expected: Path, tmp_path: Path, test: float, depth: float, agrees: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "results/seal-0", test, depth)
    assert compare(expected, tmp_path / "results") is agrees
    assert ("1 of 2 values outside" in capsys.readouterr().out) is not agrees


@pytest.mark.parametrize("value", [0.1, 0.7, 123.456])
@pytest.mark.parametrize("ulps", [-3, 0, 3])
def test_values_without_spread_agree_whatever_the_order_of_their_sum(tmp_path: Path, value: float, ulps: int) -> None:
    for seed in range(3):
        write_run(tmp_path / f"expected/seal-{seed}", value)
    write_run(tmp_path / "results/seal-0", value * (1 + ulps * 2.0**-52))
    (tmp_path / "results/seal-0/predictions/gen-01.npz").write_bytes(b"other")
    assert compare(tmp_path / "expected", tmp_path / "results")
    write_run(tmp_path / "other/seal-0", value * 1.001)
    assert not compare(tmp_path / "expected", tmp_path / "other")


@pytest.mark.parametrize("lost", ["NaN", "1e400", "9" * 400, "-" + "9" * 5000], ids=lambda lost: lost[:5])
def test_a_value_that_is_lost_does_not_agree(
    expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    path = tmp_path / "results/seal-0/summary.json"
    path.write_text(path.read_text().replace("0.61", lost))
    assert not compare(expected, tmp_path / "results")
    assert "test_accuracy: no finite number, expected 0.61" in capsys.readouterr().out
    write_run(tmp_path / "trained/seal-0", 0.61)
    assert compare(expected, tmp_path / "trained"), "what was not evaluated is not missed"


def test_a_run_that_diverged_where_the_expected_one_did_not_does_not_agree(
    expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, place = tmp_path / "results", {"generation": 2, "epoch": 0, "batch": 3}
    write_run(results / "seal-0", 0.61, 5.2)
    change(results / "seal-0/summary.json", diverged=place)
    assert not compare(expected, results)
    assert "it diverged in generation 2, the expected run did not diverge; 2 values within" in capsys.readouterr().out
    change(expected / "seal-0/summary.json", diverged=place | {"batch": 7})
    assert compare(expected, results), "rounding moves the batch"
    change(results / "seal-0/summary.json", diverged=place | {"generation": 3})
    assert not compare(expected, results)
    change(results / "seal-0/summary.json", diverged=place | {"generation": 1}, final=None)
    assert not compare(expected, results)


def test_runs_without_a_value_in_common_do_not_agree(
    expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "results/normal-0", 0.5)
    change(expected / "normal-1/summary.json", final=None)
    change(tmp_path / "results/normal-0/summary.json", final=None)
    assert not compare(expected, tmp_path / "results")
    assert "no value to compare" in capsys.readouterr().out


def test_evaluations_under_other_parameters_are_not_compared(expected: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    path = tmp_path / "results/seal-0/eval/prediction_depth/gen-01.json"
    change(path, params={"k": 5, "memory_mb": 1})
    assert compare(expected, tmp_path / "results"), "memory changes no value"
    change(path, params={"k": 7, "memory_mb": 64})
    with pytest.raises(UserError, match="seal-0: found k 7 in prediction_depth, but 5 in the expected run"):
        compare(expected, tmp_path / "results")


LISTED = {"source": "tiny_imagenet", "selection": {"image_size": 64, "split": {"list": "mini.csv", "sha256": "f9"}}}
WHOLE, PART = {"name": "whole.zip", "official": True}, {"name": "part.tar", "official": False}


def test_listed_images_of_another_archive_are_the_same_images(
    expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pack holds its archives' checksums. mini's record is of an archive with the listed images alone."""
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    own = tmp_path / "results/seal-0/summary.json"
    change(expected / "seal-0/summary.json", provenance=LISTED | {"archives": [PART]})
    change(own, provenance=LISTED | {"archives": [WHOLE]}, data_sha256="bb")
    assert compare(expected, tmp_path / "results")
    assert (
        "seal-0: not the same bits in history.csv and 3 more; the listed images, of another archive; 2 values within"
        in (capsys.readouterr().out)
    )


@pytest.mark.parametrize(
    "provenance",
    [
        {},
        {"source": "tiny_imagenet"},
        LISTED | {"source": "imagenet"},
        LISTED | {"selection": LISTED["selection"] | {"image_size": 32}},
        LISTED | {"selection": {"image_size": 64, "split": {"list": "mini.csv", "sha256": "other"}}},
    ],
)
def test_other_images_are_not_compared(expected: Path, tmp_path: Path, provenance: dict[str, Any]) -> None:
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    change(expected / "seal-0/summary.json", provenance=LISTED)
    change(tmp_path / "results/seal-0/summary.json", provenance=provenance, data_sha256="bb")
    with pytest.raises(UserError, match="seal-0: found data_sha256 bb, but aa in the expected run"):
        compare(expected, tmp_path / "results")


def test_a_split_that_is_drawn_is_of_other_images_in_another_archive(expected: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    drawn = {"source": "eurosat", "selection": {"split": {"test": 0.2, "val": 0.1}}}
    change(expected / "seal-0/summary.json", provenance=drawn)
    change(tmp_path / "results/seal-0/summary.json", provenance=drawn, data_sha256="bb")
    with pytest.raises(UserError, match="found data_sha256"):
        compare(expected, tmp_path / "results")


def test_an_evaluation_of_other_images_is_named_and_not_judged(
    expected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    for folder, accuracy, pack in (
        (expected / "seal-0", 0.90, "aa"),
        (expected / "seal-1", 0.91, "aa"),
        (expected / "seal-2", 0.92, "aa"),
        (tmp_path / "results/seal-0", 0.10, "bb"),
    ):
        values = {"values": {"paper": {"accuracy": accuracy}}, "params": {}, "data_sha256": pack}
        write_json(folder / "eval/transfer-eurosat/gen-01.json", values)
    assert compare(expected, tmp_path / "results")
    out = capsys.readouterr().out
    assert "  transfer-eurosat: of other images, not compared\n" in out
    assert "2 values within the spread" in out

    change(tmp_path / "results/seal-0/eval/transfer-eurosat/gen-01.json", data_sha256="aa")
    assert not compare(expected, tmp_path / "results")
    assert "transfer-eurosat-gen-01/paper/accuracy: 0.1, expected 0.91 +- " in capsys.readouterr().out


def test_settings_are_held_against_each_other_by_the_keys_that_both_records_have(
    expected: Path, tmp_path: Path
) -> None:
    """A record from before a key, or from before a method's numbers had a section of their own, is no other setting."""
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    kept, own = expected / "seal-0/summary.json", tmp_path / "results/seal-0/summary.json"
    generations = SUMMARY["generations"]
    change(kept, generations=generations | {"ascent_lr_scale": 0.3, "reverse_fc": "ascends"})
    change(
        own,
        generations=generations | {"new": 1},
        options={"ascent_lr_scale": 0.3},
        training={"batch_size": 32, "new": 1},
    )
    assert compare(expected, tmp_path / "results")

    change(own, options={"ascent_lr_scale": 0.1})
    with pytest.raises(UserError, match=r"seal-0: found ascent_lr_scale 0\.1, but 0\.3 in the expected run"):
        compare(expected, tmp_path / "results")
    change(own, options={}, training={"batch_size": 64})
    with pytest.raises(UserError, match="seal-0: found batch_size 64, but 32 in the expected run"):
        compare(expected, tmp_path / "results")

    change(own, training={"batch_size": 32}, model={"network": "torchvision:resnet18", "options": {}})
    with pytest.raises(UserError, match=r"seal-0: found model .*resnet18.*, but .*'width': 16.* in the expected run"):
        compare(expected, tmp_path / "results")


@pytest.mark.parametrize("name", ["summary.json", "eval/prediction_depth/gen-01.json"])
def test_a_file_that_is_cut_off_is_one_line(expected: Path, tmp_path: Path, name: str) -> None:
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    path = tmp_path / "results/seal-0" / name
    path.write_text(path.read_text()[:20])
    with pytest.raises(UserError, match=rf"results/seal-0/{name}: not JSON .*; `dvc checkout`"):
        compare(expected, tmp_path / "results")


def test_the_values_that_are_judged_are_those_of_which_their_evaluations_say_so(tmp_path: Path) -> None:
    """Of the committed study: its only numbers by which runs were judged when it was made."""
    run = RunFolder.read(MINI / "seal-0")
    shots = {f"fewshot-{target}": (1, 5, 20, 50) for target in ("digits", "eurosat", "isic_2018")}
    shots["fewshot_affines-eurosat"] = (5,)
    expected = {"test_accuracy", "hessian-gen-03/lanczos/max_eigenvalue"}
    for name, numbers in shots.items():
        expected |= {f"{name}-gen-03/shots/{shot}/accuracy" for shot in numbers}
    for target in ("digits", "eurosat"):
        expected |= {f"transfer-{target}-gen-03/{rule}/accuracy" for rule in ("paper", "validation")}
    for generation in (1, 2, 3):
        expected |= {f"prediction_depth-gen-0{generation}/{name}" for name in ("mean_depth", "model_accuracy")}
    assert judged_values(run).keys() == expected


def test_a_new_evaluation_is_judged_by_what_it_says_of_itself(
    expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measures = {
        "lost": Measure("by_corruption.{shot}.loss", "", compared=True),
        "told": Measure("seconds", "", compared=False),
    }
    new = replace(EVALUATIONS["hessian"], measures=measures, free=("speed",))
    monkeypatch.setitem(EVALUATIONS, "corruption", new)
    for place, folder in enumerate([*expected.glob("seal-*")]):
        values = {"by_corruption": {"1": {"loss": 0.1 + place / 100}}, "seconds": 1.0}
        write_json(folder / "eval/corruption/gen-01.json", {"values": values, "params": {"speed": 1, "kinds": 2}})
    write_run(tmp_path / "results/seal-0", 0.61, 5.2)
    path = tmp_path / "results/seal-0/eval/corruption/gen-01.json"
    write_json(
        path, {"values": {"by_corruption": {"1": {"loss": 0.9}}, "seconds": 99.0}, "params": {"speed": 9, "kinds": 2}}
    )
    assert not compare(expected, tmp_path / "results")
    output = capsys.readouterr().out
    assert "1 of 3 values outside" in output
    assert "corruption-gen-01/by_corruption/1/loss: 0.9, expected 0.11 +-" in output

    change(path, params={"speed": 9, "kinds": 3})
    with pytest.raises(UserError, match="found kinds 3 in corruption, but 2 in the expected run"):
        compare(expected, tmp_path / "results")


def test_what_cannot_be_compared_is_an_error(expected: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        compare(expected, tmp_path / "results")
    write_run(tmp_path / "results/seal-7", 0.6)
    with pytest.raises(UserError, match=r"no run that .*expected has too; expected one of normal-0"):
        compare(expected, tmp_path / "results")
    write_run(tmp_path / "results/seal-0", 0.6, width=8)
    with pytest.raises(UserError, match="seal-0: found width 8, but 16 in the expected run"):
        compare(expected, tmp_path / "results")
    write_run(tmp_path / "one/seal-0", 0.6)
    write_run(tmp_path / "mine/seal-0", 0.7)
    with pytest.raises(UserError, match=r"bits in history\.csv and 2 more, .*found one seed an arm in .*one"):
        compare(tmp_path / "one", tmp_path / "mine")


def test_an_arm_that_lacks_a_value_in_one_seed_says_nothing_of_its_deviation() -> None:
    whole, lacking = [{"a": 1.0}, {"a": 2.0}, {"a": 3.0}], [{"a": 1.0}, {"a": 9.0}, {}]
    assert pooled_deviation("a", {"x": whole}) == (1.0, 2)
    assert pooled_deviation("a", {"x": whole, "y": lacking}) == (1.0, 2)
    assert pooled_deviation("a", {"y": lacking}) == (0.0, 0)


def test_new_seeds_of_the_same_distribution_are_rarely_called_outside() -> None:
    """Over 2,000 studies of three seeds, three arms and four values of their own scales, one new seed an arm."""
    draw, outside = np.random.default_rng(0), 0
    scales = [0.01, 0.3, 5.0, 100.0]
    for _ in range(2000):
        arms = {arm: [dict(zip("abcd", draw.normal(0, scales), strict=True)) for _ in range(4)] for arm in "xyz"}
        kept = {arm: runs[:3] for arm, runs in arms.items()}
        outside += any(
            abs(arms[arm][3][key] - np.mean([run[key] for run in kept[arm]]))
            > half_width(*pooled_deviation(key, kept), 3, 12)
            for arm in arms
            for key in "abcd"
        )
    assert 0.2 * LEVEL < outside / 2000 <= 1.2 * LEVEL
