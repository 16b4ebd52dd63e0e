"""Commands of ours that the documents name, in a line or in a block: they exist, with the options beside them."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from seal.cli import app
from seal.tiers import tier_params
from tests.documents import README, blocks, document

ROOT = Path(__file__).parents[1]
PAGES = [
    "README.md",
    "artifact.md",
    "docker/README.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def named(page: str) -> list[list[str]]:
    """The words of each command, without its comment."""
    text = document(page)
    lines: list[str] = []
    for block in [*blocks(text, ""), *blocks(text, "sh")]:
        lines += block.splitlines()
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", plain)]
    return [shlex.split(line, comments=True)[1:] for line in lines if re.match(r"(\.venv/bin/)?seal [a-z]", line)]


@cache
def options(command: str) -> set[str]:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    return set(re.findall(r"--[a-z-]+", shown))


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_has_its_options(page: str) -> None:
    for command, *words in named(page):
        assert command in COMMANDS, f"{page}: no seal {command}"
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options(command), f"{page}: seal {command} {' '.join(words)}"


def test_commands_are_found_in_lines_and_in_blocks() -> None:
    assert ["compare", "expected/smoke"] in named("README.md")  # over two lines
    assert ["submit", "--local", "2", "--wait"] in named("docs/cluster.md")
    assert sum(len(named(page)) for page in PAGES) > 100


def test_the_overlays_that_the_readme_makes_active_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    laid = [words for words in named("README.md") if "--choices" in words]
    assert len(laid) == README.count(" --choices ") > 2
    for _, tier, _, choices in laid:
        tier_params(tier, choices)
