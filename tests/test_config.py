"""A bad params.yaml is one line that names the key; each tier and overlay is valid."""

import copy
from pathlib import Path

import pytest
import yaml

from seal.cli import write_tier
from seal.config import BASE_ARM, ConfigError, load_params
from seal.methods import METHODS
from seal.models import build
from seal.rng import stream
from seal.sections import Generations, Training
from tests.strategies import SMOKE, params_with


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
        (("generations", "ascent_epochs"), 5, "ascent_epochs is 5, expected at most epochs_per_generation = 4"),
        (("generations", "layer_threshold"), "layer3.2", "layer3 of ResNet-18 has blocks 0 to 1"),
        (("generations", "layer_threshold"), "layer5", "generations.layer_threshold"),
        (("source",), "mnst", "source is mnst, expected one of datasets: mnist_5k, digits"),
        (("main_arms",), ["sael"], "main_arms names sael, expected one of arms: normal_long"),
        (("training", "std"), [0.2, 0.0, 0.2], "training.std.1: Input should be greater than 0 (found 0.0)"),
        (("seeds",), [-1], "seeds.0: Input should be greater than or equal to 0 (found -1)"),
        (("arms", "idle"), {"method": "sael"}, f"arms.idle.method is 'sael', expected one of {', '.join(METHODS)}"),
        (("generations", "reinit_untrained"), ["fc.bais"], "generations.reinit_untrained.0: String should match"),
        (("seeds",), [0, 0], "seeds: [0, 0] names an entry twice"),
        (("arms", "seal"), {"method": "seal", "ascent_lr_scal": 1.0}, "arms.seal.ascent_lr_scal: unknown key"),
        (("arms", "seal"), {"method": "seal", "ascent_epochs": 9}, "arms.seal: ascent_epochs is 9"),
        (("arms", "Seal"), {"method": "seal"}, "arms.Seal.[key]"),
        (("arms", BASE_ARM), {"method": "seal"}, "arms.normal: this name is generation 1's"),
        (
            ("datasets", "digits"),
            {"source": "folder", "image_size": 8, "split": "official"},
            "`path` belongs to source `folder`",
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
    [("smoke", None), ("mini", None), ("paper", None), ("mini", "author_code"), ("paper", "author_code")],
)
def test_every_tier_is_valid_with_and_without_the_overlay(tmp_path: Path, tier: str, choices: str | None) -> None:
    target = tmp_path / "params.yaml"
    write_tier(tier, choices, Path("params"), target)
    params = load_params(target)
    assert params.tier == tier
    assert "# 4.1" in target.read_text(), "comments stay"
    assert choices or target.read_text() == Path(f"params/{tier}.yaml").read_text(), "a tier alone is copied as it is"
    overlay = yaml.safe_load(Path("params/author_code.yaml").read_text()) if choices else {}
    for section, values in overlay.items():
        for key, value in values.items():
            assert getattr(getattr(params, section), key) == value


def test_the_committed_parameters_are_smoke() -> None:
    assert yaml.safe_load(Path("params.yaml").read_text()) == SMOKE


def test_an_overlay_that_does_not_fit_leaves_params_yaml_alone(tmp_path: Path) -> None:
    target = tmp_path / "params.yaml"
    target.write_text("as before")
    with pytest.raises(
        ConfigError, match=r"smoke.yaml with params/author_code.yaml: warmup_epochs is 20, expected less than"
    ):
        write_tier("smoke", "author_code", Path("params"), target)
    assert target.read_text() == "as before"
    assert list(tmp_path.iterdir()) == [target]


def test_an_arm_changes_values_for_itself_alone() -> None:
    params = params_with(arms={"warm": {"method": "seal", "learning_rate": 0.5, "ascent_lr_scale": 0.3}})
    run = params.run("warm", 7)
    assert (run.name, run.training.learning_rate, run.generations.ascent_lr_scale) == ("warm-7", 0.5, 0.3)
    assert params.run("seal", 7).training.learning_rate == params.training.learning_rate
    assert params.find_run("warm-7") == run


@pytest.mark.parametrize("name", ["seal", "seal-x", "sael-0", "Seal-0"])
def test_an_unknown_run_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        params_with().find_run(name)


def test_the_keys_of_training_and_generations_are_disjoint() -> None:
    assert not set(Training.model_fields) & set(Generations.model_fields), "arms change both by the bare key"


def test_the_base_record_depends_on_no_parameter_of_later_generations() -> None:
    one = params_with(generations={"ascent_lr_scale": 0.5, "num_generations": 3}).run(BASE_ARM, 0)
    assert one.facts() == params_with().run(BASE_ARM, 0).facts()


@pytest.mark.parametrize("depth", [18, 50])
def test_any_parameter_may_be_left_untrained(depth: int) -> None:
    params = params_with(model={"depth": depth, "width": 2, "stem": "small"})
    names = [name for name, _ in build(params.model, 2, stream(0, "a test")).named_parameters()]
    assert params_with(generations={"reinit_untrained": names})


def test_a_base_run_that_diverges_always_stops() -> None:
    run = params_with(generations={"on_divergence": "record"}).run(BASE_ARM, 0)
    assert run.generations.on_divergence == "fail"
    assert run.facts() == params_with().run(BASE_ARM, 0).facts()
