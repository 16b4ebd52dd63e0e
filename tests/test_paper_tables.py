"""eval/claims/paper_tables.yaml against the paper's tables as text, number by number and in both directions."""

import re
from pathlib import Path
from typing import Any

import pytest

from eval.claims.paper import paper_number, paper_tables

TEXT = Path(__file__).with_name("paper_tables.txt").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"(?m)^((?:Table|Section) \S+)\n((?:.+\n)+)", TEXT))
ARMS = {
    "Normal": "normal", "Normal (long)": "normal_long", "Normal(long)": "normal_long", "LLF": "llf", "Ours": "seal",
    "SEAL (Ours)": "seal", "SEAL (ours)": "seal", "SEAL+Freeze": "seal_freeze", "SEAL+Reinit": "seal_reinit",
    "SEAL+Reverse": "seal_reverse", "SEAL+Descent": "seal",
}  # fmt: skip
TARGETS = {
    "Tiny-ImageNet": "tiny_imagenet", "Flower": "flowers_102", "CUB": "cub_200_2011", "Aircraft": "fgvc_aircraft",
    "MIT": "mit_indoor_67", "Stanford Dogs": "stanford_dogs", "Dogs": "stanford_dogs", "ChestX": "chestx_ray8",
    "ISIC": "isic_2018", "EuroSAT": "eurosat", "CropDisease": "crop_disease",
}  # fmt: skip
Numbers = dict[tuple[str | int, ...], Any]


def lines(section: str) -> list[list[str]]:
    return [line.split("\t") for line in SECTIONS[section].splitlines()]


def by_generation(section: str) -> Numbers:
    head, *rows = lines(section)
    found: Numbers = {}
    for row in rows:
        generation = int(row[0].removeprefix("Gen").removeprefix("="))
        for name, cell in zip(head[1:], row[1:], strict=True):
            if cell != "-":
                arm = "normal_long" if name == "Normal" and generation > 1 else ARMS[name]
                found[arm, generation] = float(cell)
    return found


def table_1() -> Numbers:
    head, *rows = lines("Table 1")
    return {
        (ARMS[row[0]], TARGETS[name]): float(cell) for row in rows for name, cell in zip(head[1:], row[1:], strict=True)
    }


def table_3() -> Numbers:
    head, *rows = lines("Table 3")
    names = {"num_classes": "classes", "Train": "train", "Valid": "val", "Test": "test", "Total": "total"}
    return {
        (TARGETS[row[0].partition(" ")[0]], names[name]): int(cell.replace(",", ""))
        for row in rows
        for name, cell in zip(head[1:], row[1:], strict=True)
        if cell != "N/A"
    }


def few_shot() -> Numbers:
    found: Numbers = {}
    for section in ("Table 4", "Table 5"):
        head, *rows = lines(section)
        shot, kind = 0, ""
        for row in rows:
            if match := re.fullmatch(r"5-WAY, (\d+)-SHOT", row[0]):
                shot = int(match[1])
                continue
            kind = {"Linear": "fewshot", "Linear+Affines": "fewshot_affines", "": kind}[row[0]]
            for name, cell in zip(head[2:], row[2:], strict=True):
                found[kind, ARMS[row[1]], TARGETS[name], shot] = [float(part) for part in cell.split(" ± ")]
    return found


def table_6() -> Numbers:
    keys = ("max_eigenvalue", "negative_percent")
    return {
        (ARMS[row[0]], key): float(cell.removesuffix("%"))
        for row in lines("Table 6")[1:]
        for key, cell in zip(keys, row[1:], strict=True)
    }


def flat(numbers: Any) -> Numbers:
    if not isinstance(numbers, dict):
        return {(): numbers}
    return {(key, *rest): value for key, each in numbers.items() for rest, value in flat(each).items()}


@pytest.mark.parametrize(
    ("table", "expected", "count"),
    [
        ("table_1", table_1(), 24),
        ("table_2", by_generation("Table 2"), 7),
        ("table_3", table_3(), 22),
        ("few_shot", few_shot(), 128),
        ("table_6", table_6(), 8),
        ("table_7", by_generation("Table 7"), 11),
    ],
)
def test_the_numbers_are_the_paper_s(table: str, expected: Numbers, count: int) -> None:
    assert flat(paper_tables()[table]["numbers"]) == expected
    assert len(expected) == count


@pytest.mark.parametrize("section", ["Section 3", "Section 4.1", "Section 4.2", "Section 5"])
def test_every_number_of_the_text_is_there_and_no_other(section: str) -> None:
    text = SECTIONS[section].replace(r"\frac{1}{4}", "0.25")
    text = re.sub(r"Block4\.1|G = 1\$|(?<= in \$)G = 10", "", text)  # where a number is measured, not what it is
    written = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
    numbers = paper_tables()["text"]["numbers"].values()
    found = [each["number"] for each in numbers if each["place"].split(",")[0] == section.lower()]
    listed = [part for each in found for part in (each if isinstance(each, list) else [each])]
    assert sorted(map(float, listed)) == sorted(written)


def test_a_number_is_found_by_its_keys() -> None:
    assert paper_number("table_2", "seal", 10) == 59.22
    assert paper_number("few_shot", "fewshot", "llf", "eurosat", 5) == 60.69
    assert paper_number("text", "llf_margin") == 2.55
    assert paper_number("table_2", "normal_long_cosine", 10) == paper_number("table_2", "normal_long", 10) == 49.27
    for keys in (("seal", 1), ("seal_s0", 10), ("nobody",)):
        assert paper_number("table_2", *keys) is None
    with pytest.raises(KeyError):
        paper_number("table_9", "seal")


def test_the_tables_agree_with_each_other_and_add_up() -> None:
    for arm, numbers in paper_tables()["table_2"]["numbers"].items():
        assert numbers[max(numbers)] == paper_number("table_1", arm, "tiny_imagenet")
    for arm in ("normal", "normal_long", "seal"):
        assert paper_tables()["table_7"]["numbers"][arm] == paper_tables()["table_2"]["numbers"][arm]
    for sizes in paper_tables()["table_3"]["numbers"].values():
        assert sizes["train"] + sizes.get("val", 0) + sizes["test"] == sizes["total"]
