"""The paper's numbers, from eval/claims/paper_tables.yaml: for the list of claims and for the report's tables."""

from functools import cache
from pathlib import Path
from typing import Any

from seal.yaml_files import read_yaml

PAPER_TABLES = Path(__file__).with_name("paper_tables.yaml")
SAME_IN_PAPER = {"normal_long_cosine": "normal_long"}  # which of the two Normal (long) is, the paper does not say


@cache
def paper_tables() -> dict[str, Any]:
    """Table -> place, title and numbers."""
    return dict(read_yaml(PAPER_TABLES, "`git restore eval/claims` brings it back"))


def paper_number(table: str, *keys: str | int) -> float | None:
    """A number by its table and keys, e.g. ("table_2", "seal", 10); None where the paper has none. Percent for
    accuracies; of the few-shot tables the mean, of the text's entries the number. Raises KeyError for no such table."""
    number: Any = paper_tables()[table]["numbers"]
    for key in keys:
        number = number.get(SAME_IN_PAPER.get(str(key), key)) if isinstance(number, dict) else None

    if isinstance(number, dict):
        number = number.get("number")
    if isinstance(number, list):
        number = number[0]
    return None if number is None else float(number)
