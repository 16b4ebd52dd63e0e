"""What holds of every method: resume, generation 1, layouts; what the record and messages say of it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from seal.checkpoint import State
from seal.clock import Clock
from seal.errors import ConfigError
from seal.methods import METHODS
from seal.resume import shares_generation_1
from seal.train import CODE
from seal.trainer import Trainer
from tests.small import BATCHES, CPU, contents, small_data, small_run, train_small, trained

OWN_GENERATION_1 = {"sagd"}  # whose chance follows the losses of generation 1 already
ARMS: list[tuple[str, dict[str, Any]]] = [
    *((method, {}) for method in METHODS),
    ("imp", {"rewound_share": 0.4}),
    ("sagd", {"climbs_by": "update"}),
]


@pytest.mark.parametrize(("method", "changes"), ARMS, ids=str)
def test_interrupted_in_each_phase_it_ends_with_the_same_bits_and_two_runs_are_alike(
    tmp_path: Path, method: str, changes: dict[str, Any]
) -> None:
    run = small_run(method, num_generations=3, **changes)
    train_small(run, tmp_path / "whole")
    for batch in (3, 6, 9, 13, 15):  # generation 1; its successor's first and second epoch; the third's
        with pytest.raises(KeyboardInterrupt):
            train_small(run, tmp_path / "parts", at=batch - trained_batches(tmp_path / "parts"))
    train_small(run, tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def trained_batches(folder: Path) -> int:
    path = folder / "state.safetensors"
    return BATCHES * len(State.load(path).rows) if path.exists() else 0


@pytest.mark.parametrize("method", METHODS)
def test_generation_1_is_shared_where_nothing_of_it_is_the_methods(method: str) -> None:
    base = small_run("normal_long", num_generations=1)
    run = small_run(method)
    trainer = Trainer(run, small_data(run), CPU)
    assert shares_generation_1(run, base, trainer) == (method not in OWN_GENERATION_1)


def test_late_rewinding_trains_its_own_generation_1() -> None:
    base, run = small_run("normal_long", num_generations=1), small_run("imp", rewound_share=0.4)
    assert not shares_generation_1(run, base, Trainer(run, small_data(run), CPU))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_forgotten_and_what_lives_depend_on_no_memory_layout(method: str) -> None:
    networks = []
    for layout in (False, True):
        run = small_run(method, channels_last=layout)
        trainer, state = Trainer(run, small_data(run), CPU), State()
        state.take(trainer.model, trainer.optimizer, trainer.names)
        state.previous = state.copied()
        trainer.begin_epoch(Clock(2, 0), state)
        networks.append({name: value.contiguous() for name, value in trainer.model.state_dict().items()})
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


@pytest.mark.parametrize("method", METHODS)
def test_the_outcome_says_how_far_a_method_that_looks_back_moved(tmp_path: Path, method: str) -> None:
    trainer, ended, state = trained(tmp_path, small_run(method))
    assert "moved_early" not in state.generations[0]
    if not trainer.method.looks_back:
        assert "moved_early" not in state.generations[1]
        return
    for side, names in (("early", trainer.sides.early), ("late", trainer.sides.late)):
        squares = sum(float((ended[1][name].double() - ended[0][name].double()).square().sum()) for name in names)
        assert state.generations[1][f"moved_{side}"] == pytest.approx(math.sqrt(squares))


@pytest.mark.parametrize(
    ("method", "option", "value", "words"),
    [
        ("ke_wels", "split_rate", 1.5, "a number, at least 0 and at most 1"),
        ("ke_kels", "split_rate", "all", "a number, at least 0 and at most 1"),
        ("imp", "pruned_share", -0.1, "a number, at least 0 and at most 1"),
        ("imp", "rewound_share", 2, "a number, at least 0 and at most 1"),
        ("dsd", "dense_lr_scale", -1.0, "a number, at least 0"),
        ("ban_labels", "teacher_weight", 1.1, "a number, at least 0 and at most 1"),
        ("sagd", "initial_temperature", 0.0, "a number, at least 1e-06"),
        ("sagd", "log_offset", 3, "one of 1, 2"),
        ("sagd", "climbs_by", "momentum", "one of gradient, update"),
        ("shrink_perturb", "noise_scale", None, "a number, at least 0"),
    ],
)
def test_a_wrong_option_is_one_line_of_method_option_and_range(
    method: str, option: str, value: object, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        small_run(method, **{option: value})
    assert str(caught.value) == f"arms.arm.{option} is {value!r}, expected {words}, for method {method}"


@pytest.mark.parametrize("method", ["imp", "ban"])
def test_the_best_since_the_runs_start_is_refused_where_generations_start_anew(method: str) -> None:
    with pytest.raises(ConfigError, match=rf"arms\.arm: generations\.checkpoint is best.*last for method {method}"):
        small_run(method, checkpoint="best")


def test_no_line_of_the_loop_knows_a_methods_name() -> None:
    root = Path(__file__).parents[1]
    modules = [name for name in CODE if name.endswith(".py")]  # not the methods themselves, which are a folder
    for name in (*modules, "seal/resume_file.py", "seal/publish.py"):
        text = (root / name).read_text(encoding="utf-8")
        assert not [method for method in METHODS if f'"{method}"' in text or f".{method}" in text], name
