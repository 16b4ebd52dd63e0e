"""docs/practitioner.md: its commands run, and its loop trains by every method."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from seal.cli import app
from seal.clock import Clock
from seal.methods import METHODS
from seal.tiers import tier_params

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/practitioner.md").read_text(encoding="utf-8")
PLAIN, WITH_METHOD = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(COMMANDS,) = re.findall(r"```\n(seal split.*?)```", TEXT, re.DOTALL)
SHORT = (("FakeData(64,", "FakeData(4,"), ("epochs=30", "epochs=1"), ("optimizer, 30", "optimizer, 1"))


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The document's loops take one where there is one."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("command", COMMANDS.splitlines())
def test_a_command_shows_two_sides(command: str) -> None:
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()] == ["side", "early", "late"]


def test_a_method_takes_ten_lines() -> None:
    assert len(WITH_METHOD.splitlines()) - len(PLAIN.splitlines()) <= 10


def test_the_loop_as_it_was() -> None:
    code = PLAIN.replace(*SHORT[0]).replace("range(30)", "range(1)")
    after: dict[str, Any] = {}
    exec(code, after)
    assert after["scheduler"].last_epoch == 1


@pytest.mark.parametrize("method", METHODS)
def test_the_loop_by_each_method(method: str) -> None:
    """With the numbers of its arm."""
    options = dict(tier_params("smoke", folder=ROOT / "params").run(method, 0).options.__dict__)
    if "ascent_epochs" in options:
        options["ascent_epochs"] = 1
    code = re.sub(r"numbers = .*", f"numbers = {options!r}", WITH_METHOD.replace('"seal", model', f'"{method}", model'))
    for long, short in SHORT:
        assert long in code
        code = code.replace(long, short)

    torch.manual_seed(0)
    after: dict[str, Any] = {}
    exec(code, after)
    assert after["forgetting"].clock == Clock(3, 0)
    assert after["make_model"]().state_dict().keys() == after["model"].state_dict().keys()
    assert all(value.isfinite().all() for value in after["model"].state_dict().values())
