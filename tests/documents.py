"""What the documents say, for the tests that do it."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]


def document(name: str) -> str:
    """By its path from the project's root."""
    return (ROOT / name).read_text(encoding="utf-8")


README = document("README.md")
CLUSTER = document("docs/cluster.md")


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code in that language; of none where it is empty."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for kind, block in fenced if kind == language]


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def example(heading: str, language: str, number: int = 0) -> str:
    """A block of code in that language under a heading of README.md, the first unless said."""
    return blocks(section(README, heading), language)[number]


def cluster_commands(heading: str) -> list[list[str]]:
    """Of the block below a heading of docs/cluster.md."""
    (block,) = blocks(section(CLUSTER, heading), "")
    return [shlex.split(line) for line in block.splitlines()]
