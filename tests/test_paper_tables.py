"""The numbers in eval/paper_tables.yaml are the paper's: read again here from its tables as text."""

import re
from pathlib import Path
from typing import Any

import pytest

from eval.paper import paper_number, paper_tables

BLOCKS = dict(
    re.findall(
        r"^((?:Table|Section) [\d.]+)\n(.*?)(?=\n\n(?:Table|Section) |\Z)",
        Path(__file__).with_name("paper_tables.txt").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)
ARMS = {"Normal": "normal", "Normal(long)": "normal_long", "LLF": "llf", "SEAL(ours)": "seal", "SEAL(Ours)": "seal"}
TARGETS = {
    "Tiny-ImageNet": "tiny_imagenet", "Flower": "flowers_102", "CUB": "cub_200_2011", "Aircraft": "fgvc_aircraft",
    "MIT": "mit_indoor_67", "Stanford Dogs": "stanford_dogs", "Dogs": "stanford_dogs", "ChestX": "chestx_ray8",
    "ISIC": "isic_2018", "EuroSAT": "eurosat", "CropDisease": "crop_disease",
}  # fmt: skip
COLUMNS = {
    "Normal": "normal_long", "LLF": "llf", "Ours": "seal", "SEAL+Freeze": "seal_freeze",
    "SEAL+Reinit": "seal_reinit", "SEAL+Reverse": "seal_reverse", "SEAL+Descent": "seal",
}  # fmt: skip


def cells(table: str) -> list[list[str]]:
    return [line.split("\t") for line in BLOCKS[table].splitlines()]


def arm(text: str) -> str:
    return ARMS[text.replace(" ", "")]


def number(text: str) -> float:
    return float(text.replace(",", "").rstrip("%"))


def leaves(value: Any) -> int:
    return sum(map(leaves, value.values())) if isinstance(value, dict) else 1


def test_table_1() -> None:
    (_, *targets), *rows = cells("Table 1")
    found = {arm(name): {TARGETS[t]: number(x) for t, x in zip(targets, row, strict=True)} for name, *row in rows}
    assert paper_tables()["table_1"]["numbers"] == found


@pytest.mark.parametrize("table", ["Table 2", "Table 7"])
def test_tables_by_generation(table: str) -> None:
    (_, *columns), *rows = cells(table)
    found: dict[str, dict[int, float]] = {}
    for name, *row in rows:
        generation = int(name.removeprefix("Gen").removeprefix("="))
        for column, text in zip(columns, row, strict=True):
            if text != "-":
                # Section 4.1: 160 epochs are Normal, more generations of them Normal (long).
                key = "normal" if generation == 1 else COLUMNS[column]
                found.setdefault(key, {})[generation] = number(text)
    assert paper_tables()[table.lower().replace(" ", "_")]["numbers"] == found


def test_table_3() -> None:
    header, *rows = cells("Table 3")
    keys = {"num_classes": "classes", "Train": "train", "Valid": "val", "Test": "test", "Total": "total"}
    for name, *row in rows:
        found = {keys[k]: number(x) for k, x in zip(header[1:], row, strict=True) if x != "N/A"}
        assert paper_tables()["table_3"]["numbers"][TARGETS[name.split(" [")[0]]] == found


def test_tables_4_and_5() -> None:
    compared = 0
    for table in ("Table 4", "Table 5"):
        header, *rows = cells(table)
        shots, kind = 0, ""
        for updated, name, *row in rows:
            if way := re.match(r"5-WAY, (\d+)-SHOT", updated):
                shots = int(way[1])
                continue
            kind = {"Linear": "fewshot", "Linear+Affines": "fewshot_affines", "": kind}[updated]
            for target, text in zip(header[2:], row, strict=True):
                entry = paper_tables()["few_shot"]["numbers"][kind][arm(name)][TARGETS[target]][shots]
                assert entry == [number(part) for part in text.split(" ± ")]
                assert paper_number("few_shot", kind, arm(name), TARGETS[target], shots) == entry[0]
                compared += 1
    assert compared == leaves(paper_tables()["few_shot"]["numbers"]) == 2 * 4 * 4 * 4


def test_table_6() -> None:
    _, *rows = cells("Table 6")
    found = {arm(name): {"max_eigenvalue": number(x), "negative_percent": number(y)} for name, x, y in rows}
    assert paper_tables()["table_6"]["numbers"] == found


def test_numbers_of_the_text() -> None:
    for name, entry in paper_tables()["text"]["numbers"].items():
        section = re.match(r"section ([\d.]+)", entry["place"])
        assert section is not None
        text = BLOCKS[f"Section {section[1]}"].replace("\\frac{1}{4}", "0.25")
        numbers = [float(each) for each in re.findall(r"\d+(?:\.\d+)?", text)]
        wanted = entry["number"] if isinstance(entry["number"], list) else [entry["number"]]
        assert all(value in numbers for value in wanted), name


def test_what_the_paper_does_not_have() -> None:
    assert paper_number("table_2", "seal", 2) is None
    assert paper_number("table_1", "seal_s0", "eurosat") is None
    assert paper_number("table_2", "normal_long_cosine", 10) == paper_number("table_2", "normal_long", 10)
    with pytest.raises(KeyError):
        paper_number("table_8", "seal")
