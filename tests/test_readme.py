"""The README's examples run as they stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from seal import methods
from seal.checkpoint import State
from seal.clock import Clock
from seal.config import load_params
from seal.errors import ConfigError
from seal.methods import paper
from seal.sections import Run
from seal.tiers import TIERS
from seal.trainer import Trainer
from tests.documents import README, example
from tests.small import CPU, small_data, small_run, train_small

ROOT = Path(__file__).parents[1]


def test_every_tier_is_in_the_table_of_tiers() -> None:
    tiers = README.partition("\n## Tiers\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", tiers, re.MULTILINE) == [*TIERS]


def test_a_single_value_is_changed_as_dvc_users_do(tmp_path: Path) -> None:
    """DVC writes all of params.yaml anew, in YAML 1.2: the other values are what they were."""
    (command,) = re.findall(r"`(dvc exp run[^`]+)`", README)
    before = load_params(shutil.copy(ROOT / "params.yaml", tmp_path))
    stage = {"cmd": "cp params.yaml made", "params": ["training"], "outs": ["made"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"show": stage}}))
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n")
    for words in (
        ["git", "init", "--quiet"], ["git", "config", "user.name", "A"], ["git", "config", "user.email", "a@b"],
        ["git", "add", "."], ["git", "commit", "--quiet", "--message", "."], [sys.executable, "-m", *command.split()],
    ):  # fmt: skip
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    training = before.training.model_copy(update={"learning_rate": 0.02})
    assert load_params(tmp_path / "params.yaml") == before.model_copy(update={"training": training})


LOOP = "SEAL in your own training loop"
OPTIMIZER = "optimizer = SignedSGD("


def your_own_loop(number: int) -> str:
    """An example, in two epochs, one of each phase; the second one's optimizer and loop are the first one's."""
    code, loop = example(LOOP, "python", number), example(LOOP, "python").partition(OPTIMIZER)[2]
    code = code.partition(OPTIMIZER)[0] + OPTIMIZER + loop
    assert len(code.splitlines()) < 32
    for long, short in (("range(160)", "range(2)"), ("epoch < 40", "epoch < 1"), ("(0, 40)", "(0, 1)")):
        assert long in code
        code = code.replace(long, short)
    return code


@pytest.mark.parametrize("number", [0, 1])
def test_your_own_training_loop(number: int) -> None:
    code = your_own_loop(number).replace("FakeData(64, (3, 64, 64)", "FakeData(4, (3, 32, 32)")
    before: dict[str, Any] = {}
    torch.manual_seed(0)
    exec(code.partition("sides = ")[0], before)
    torch.manual_seed(0)
    after: dict[str, Any] = {}
    exec(code, after)

    started = before["model"].state_dict()
    moved = {name for name, value in after["model"].state_dict().items() if not torch.equal(value, started[name])}
    assert moved >= set(dict(after["model"].named_parameters()))
    assert [group["maximize"] for group in after["optimizer"].param_groups] == [False, False]


def test_any_method_in_your_own_training_loop() -> None:
    code = example(LOOP, "python", 2)
    for long, short in (("epochs=30", "epochs=1"), ("optimizer, 30", "optimizer, 1"),
                        ("FakeData(64, (3, 64, 64)", "FakeData(4, (3, 32, 32)")):  # fmt: skip
        assert long in code
        code = code.replace(long, short)
    after: dict[str, Any] = {}
    torch.manual_seed(0)
    exec(code, after)
    assert after["forgetting"].clock == Clock(3, 0)
    assert after["make_model"]().state_dict().keys() == after["model"].state_dict().keys()


@pytest.fixture
def hold_late(monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of the README's own method, defined where its text says."""
    defined = dict(vars(paper))
    exec(example("Add a method", "python"), defined)
    monkeypatch.setitem(methods.METHODS, "hold_late", defined["hold_late"])
    (arm,) = yaml.safe_load(example("Add a method", "yaml"))["arms"].values()
    return small_run(**arm)


def test_a_method_of_ones_own(hold_late: Run) -> None:
    trainer = Trainer(hold_late, small_data(hold_late), CPU)
    rules = trainer.begin_epoch(Clock(2, 0))
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train_epoch(Clock(2, 0), lambda *batch: None)
    for name, value in trainer.model.named_parameters():
        assert torch.equal(value, before[name]) == (name in trainer.sides.late), name
    assert rules["late"].frozen
    assert not any(rule.maximize for rule in rules.values())


def test_the_record_shows_where_a_method_of_ones_own_holds(hold_late: Run, tmp_path: Path) -> None:
    train_small(hold_late, tmp_path)
    rows = State.load(tmp_path / "state.safetensors").rows
    assert [row["phase"] for row in rows] == ["descent"] * 3 + ["hold"] + ["descent"] * 2
    assert [row["sign_late"] for row in rows] == [1, 1, 1, 0, 1, 1]
    assert ["clean_loss" in row for row in rows] == [False, False, True, True, False, True]


def test_momentum_is_cleared_where_a_method_of_ones_own_holds_and_lets_go(hold_late: Run) -> None:
    generations = hold_late.generations.model_copy(update={"schedule": "one_cosine"})  # so that no rate restarts
    run = hold_late.model_copy(update={"generations": generations})
    trainer, cleared = Trainer(run, small_data(run), CPU), []
    for clock in trainer.course.clocks():
        trainer.begin_epoch(clock)
        buffers = [state["momentum_buffer"] for state in trainer.optimizer.state.values()]
        if buffers and not any(buffer.any() for buffer in buffers):
            cleared.append(clock)
        trainer.train_epoch(clock, lambda *batch: None)
    assert cleared == [Clock(2, 0), Clock(2, 1)]


def test_a_wrong_number_of_ones_own_is_named(hold_late: Run) -> None:
    with pytest.raises(
        ConfigError, match=r"arms\.arm\.held_share is 1\.5, expected a number, at least 0 and at most 1"
    ):
        small_run("hold_late", held_share=1.5)


def test_a_dataset_of_ones_own(tmp_path: Path) -> None:
    params = yaml.safe_load(Path(__file__).parents[1].joinpath("params.yaml").read_text(encoding="utf-8"))
    params["datasets"] |= yaml.safe_load(example("Add a dataset", "yaml"))["datasets"]
    params["source"] = "mine"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    assert load_params(tmp_path / "params.yaml").datasets["mine"].path == "/data/my-images"
