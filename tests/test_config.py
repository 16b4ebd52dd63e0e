"""A bad params.yaml is one line that names the key; each tier and overlay is valid."""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from seal.config import Params, load_params
from seal.errors import ConfigError
from seal.methods import METHODS, options_of
from seal.sections import BASE_ARM, Generations, Training
from seal.tiers import TIERS, tier_params, tier_text, write_tier
from tests.strategies import SMOKE, params_with, run_with


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("training", "momentun"), 0.9, "training.momentun: unknown key"),
        (("training", "momentum"), None, "training.momentum: Input should be a valid number (found None)"),
        (("training", "batch_size"), "32", "training.batch_size: Input should be a valid integer (found '32')"),
        (("training", "warmup_epochs"), 4, "warmup_epochs is 4, expected less than epochs_per_generation = 4"),
        (("training", "learning_rate"), -0.1, "training.learning_rate: Input should be greater than 0 (found -0.1)"),
        (
            ("training", "learning_rate"),
            float("nan"),
            "training.learning_rate: Input should be a finite number (found nan)",
        ),
        (("generations", "ascent_epochs"), 1, "generations.ascent_epochs: unknown key"),
        (("generations", "layer_threshold"), "layer3.2", "layer3 of ResNet-18 has blocks 0 to 1"),
        (("generations", "layer_threshold"), "layer5", "generations.layer_threshold"),
        (("source",), "mnst", "source is mnst, expected one of datasets: mnist_5k, digits"),
        (("main_arms",), ["sael"], "main_arms names sael, expected one of arms: normal_long"),
        (("evaluated_arms",), ["imp"], "evaluated_arms names imp, expected of normal, normal_long, llf, seal"),
        (("evaluated_extra_arms",), ["llf"], "evaluated_extra_arms names llf, expected of "),
        (("evaluated_sensitivity_arms",), ["normal"], "evaluated_sensitivity_arms names normal, expected of "),
        (("training", "std"), [0.2, 0.0, 0.2], "training.std.1: Input should be greater than 0 (found 0.0)"),
        (("seeds",), [-1], "seeds.0: Input should be greater than or equal to 0 (found -1)"),
        (("arms", "idle"), {"method": "sael"}, f"arms.idle.method is 'sael', expected one of {', '.join(METHODS)}"),
        (("seeds",), [0, 0], "seeds: [0, 0] names an entry twice"),
        (("arms", "seal", "ascent_lr_scal"), 1.0, "arms.seal.ascent_lr_scal: unknown key, expected of seal method"),
        (("arms", "llf", "ascent_epochs"), 1, "arms.llf.ascent_epochs: unknown key, expected of llf method or one of"),
        (("arms", "seal", "warmup_epochs"), 4, "arms.seal: warmup_epochs is 4, expected less than epochs_per"),
        (("arms", "seal", "momentum"), 1.0, "arms.seal: momentum: Input should be less than 1 (found 1.0)"),
        (
            ("arms", "seal"),
            {"method": "seal", "first_ascent_generation": 2},
            "arms.seal.ascent_epochs: missing key, expected an integer, at least 0 and at most epochs_per_generation "
            "= 4, for method seal",
        ),
        (
            ("arms", "seal", "ascent_epochs"),
            5,
            "arms.seal.ascent_epochs is 5, expected an integer, at least 0 and at most epochs_per_generation = 4, for",
        ),
        (("arms", "seal", "ascent_epochs"), 1.0, "arms.seal.ascent_epochs is 1.0, expected an integer, at least 0"),
        (("arms", "seal", "ascent_epochs"), True, "arms.seal.ascent_epochs is True, expected an integer"),
        (("arms", "seal", "ascent_lr_scale"), -0.1, "arms.seal.ascent_lr_scale is -0.1, expected a number, at least 0"),
        (("arms", "seal", "ascent_lr_scale"), float("nan"), "arms.seal.ascent_lr_scale is nan, expected a number"),
        (("arms", "seal", "ascent_lr_scale"), "0.1", "arms.seal.ascent_lr_scale is '0.1', expected a number"),
        (
            ("arms", "seal", "ascent_weight_decay"),
            False,
            "arms.seal.ascent_weight_decay is False, expected one of adjusted, off, grow, for method seal",
        ),
        (
            ("arms", "seal_reinit", "llf_reinitialises"),
            "biases",
            "arms.seal_reinit.llf_reinitialises is 'biases', expected one of weights, all, for method seal_reinit",
        ),
        (("model", "classifier_bias"), "one", "model.classifier_bias"),
        (("arms", "Seal"), {"method": "seal"}, "arms.Seal.[key]"),
        (("arms", BASE_ARM), {"method": "seal"}, "arms.normal: this name is generation 1's"),
        (
            ("datasets", "digits"),
            {"source": "folder", "image_size": 8, "split": "official"},
            "`path` is missing, expected with source `folder`",
        ),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(
    tmp_path: Path, place: tuple[str, ...], value: object, words: str
) -> None:
    params = copy.deepcopy(SMOKE)
    section = params
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_key_a_missing_file_and_broken_yaml_are_said(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    with pytest.raises(ConfigError, match="not found"):
        load_params(path)
    path.write_text(yaml.safe_dump({key: value for key, value in SMOKE.items() if key != "tier"}))
    with pytest.raises(ConfigError, match="tier: missing key"):
        load_params(path)
    with pytest.raises(ConfigError, match="found a folder, expected YAML"):
        load_params(tmp_path)
    path.write_bytes(b"tier: sm\xf6ke")
    with pytest.raises(ConfigError, match=r"found bytes that are not UTF-8 \(.*\), expected YAML"):
        load_params(path)
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_params(path)


@pytest.mark.parametrize(
    ("tier", "choices"),
    [*((tier, None) for tier in TIERS), ("mini", "author_code"), ("paper", "author_code")],
)
def test_every_tier_is_valid_with_and_without_the_overlay(tmp_path: Path, tier: str, choices: str | None) -> None:
    target = tmp_path / "params.yaml"
    write_tier(tier, choices, Path("params"), target)
    params = load_params(target)
    assert params.tier == tier
    assert "# 4.1" in target.read_text(), "comments stay"
    assert params == tier_params(tier, choices)
    overlay = yaml.safe_load(Path(f"params/{choices or tier}.yaml").read_text())
    for place, value in leaves(overlay):
        if place[0] != "datasets":
            assert value_at(params, place) == value, place


def leaves(tree: dict[str, Any]) -> Iterator[tuple[list[str], Any]]:
    """Every value that is no dict, by the keys that lead to it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from (([key, *place], leaf) for place, leaf in leaves(value))
        else:
            yield [key], value


def value_at(params: Params, place: list[str]) -> Any:
    if place[-1] == "precision":  # an evaluation's is left unnamed in records where it is float32
        return getattr(params, place[0]).precision
    tree = params.model_dump(mode="json")
    for key in place:
        tree = tree[key]
    return tree


def test_params_yaml_is_what_seal_tier_smoke_writes() -> None:
    assert Path("params.yaml").read_text() == tier_text("smoke")


def test_the_paper_is_whole_and_written_as_it_stands() -> None:
    assert tier_text("paper") == Path("params/paper.yaml").read_text()


WHOLE = """\
# the paper's
tier: paper # a tier

# Runs
seeds: [0, 1] # three
arms:
  seal: &seal
    s: 0.01 # 3: S
    k: 40 # 3: k
  zero: {<<: *seal, s: 0.0} # none
  freeze: {<<: *seal, statistics: move} # Table 7

datasets:
  a: {size: 64}
  b: {size: 64}

model: # 4.1
  depth: 50 # 4.1: fifty

  # of the stem
  width: 64 # 4.1: wide
  norm: null
"""
OVERLAY = """\
# mine
# alone
tier: mini # another

seeds: [0, 1, 2, 3, 4] # five
arms:
  seal: {s: 0.3}
  freeze: {statistics: held_long} # held
datasets:
  # one
  c: {size: 8}
model:
  depth: 18
  width: 8 # narrow
"""
LAID_OVER = """\
# mine
# alone
tier: mini # another

# Runs
seeds: [0, 1, 2, 3, 4] # five
arms:
  seal: &seal
    s: 0.3
    k: 40 # 3: k
  zero: {<<: *seal, s: 0.0} # none
  freeze: {<<: *seal, statistics: held_long} # held

datasets:
  # one
  c: {size: 8}

model: # 4.1
  depth: 18

  # of the stem
  width: 8 # narrow
  norm: null
"""


def test_an_overlay_changes_values_with_their_comments_and_reaches_what_merges_them(tmp_path: Path) -> None:
    (tmp_path / "paper.yaml").write_text(WHOLE)
    (tmp_path / "mini.yaml").write_text(OVERLAY)
    text = tier_text("mini", folder=tmp_path)
    assert text == LAID_OVER
    arms = yaml.safe_load(text)["arms"]
    assert arms["freeze"] == {"s": 0.3, "k": 40, "statistics": "held_long"}
    assert arms["zero"] == {"s": 0.0, "k": 40}


def test_an_overlay_that_does_not_fit_leaves_params_yaml_alone(tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    target.write_text("as before")
    with pytest.raises(
        ConfigError, match=r"smoke.yaml with params/author_code.yaml: warmup_epochs is 20, expected less than"
    ):
        write_tier("smoke", "author_code", Path("params"), target)
    for unknown in ("author_cod", "mini", "splits/mini"):
        with pytest.raises(ConfigError, match=rf"found the choices {unknown}, expected one of author_code"):
            write_tier("smoke", unknown, Path("params"), target)
    assert target.read_text() == "as before"
    assert list(tmp_path.iterdir()) == [target]


def test_an_arm_changes_values_for_itself_alone() -> None:
    warm = SMOKE["arms"]["seal"] | {"learning_rate": 0.5, "ascent_lr_scale": 0.3}
    params = params_with(arms={"warm": warm})
    run = params.run("warm", 7)
    assert (run.name, run.training.learning_rate, run.options.ascent_lr_scale) == ("warm-7", 0.5, 0.3)
    assert params.changes("warm") == {"learning_rate": 0.5, "ascent_lr_scale": 0.3}
    assert params.run("seal", 7).training.learning_rate == params.training.learning_rate
    assert params.find_run("warm-7") == run


@pytest.mark.parametrize("name", ["seal", "seal-x", "sael-0", "Seal-0"])
def test_an_unknown_run_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        params_with().find_run(name)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_records_its_methods_own_numbers_and_no_others(method: str) -> None:
    run = run_with(method)
    facts = json.loads(json.dumps(run.facts()))
    assert facts == run.facts()
    assert set(facts["options"]) == {field.name for field in fields(options_of(method))}
    assert run_with(method, **facts["options"]) == run


@pytest.mark.parametrize("method", METHODS)
def test_a_key_of_an_arm_has_one_meaning(method: str) -> None:
    own = {field.name for field in fields(options_of(method))}
    for some, others in itertools.combinations((own, set(Training.model_fields), set(Generations.model_fields)), 2):
        assert not some & others, "an arm gives all three by the bare key"
    assert "method" not in own


def test_the_base_record_depends_on_no_parameter_of_later_generations() -> None:
    seal = SMOKE["arms"]["seal"] | {"ascent_lr_scale": 0.5}
    changed = params_with(generations={"num_generations": 3, "layer_threshold": "fc"}, arms={"seal": seal})
    assert changed.run(BASE_ARM, 0).facts() == params_with().run(BASE_ARM, 0).facts()


def test_a_number_of_one_method_changes_no_other_arm() -> None:
    changed = params_with(arms={"seal": SMOKE["arms"]["seal"] | {"ascent_lr_scale": 0.5}})
    for arm in SMOKE["arms"]:
        assert (changed.run(arm, 0) != params_with().run(arm, 0)) == (arm == "seal"), arm


def test_a_base_run_that_diverges_always_stops() -> None:
    run = params_with(generations={"on_divergence": "record"}).run(BASE_ARM, 0)
    assert run.generations.on_divergence == "fail"
    assert run.facts() == params_with().run(BASE_ARM, 0).facts()
