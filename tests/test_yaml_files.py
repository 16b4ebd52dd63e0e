"""YAML of a person's: a key twice, a value that cannot be and a text without bounds are one short line, at once."""

import itertools
import math
from pathlib import Path

import pytest
import ruamel.yaml

from seal.config import load_params
from seal.errors import LONGEST, ConfigError, printable, short
from seal.tiers import tier_params, tier_text
from seal.yaml_files import DEEPEST, read_yaml
from tests.strategies import SMOKE

pytestmark = pytest.mark.timeout(60)  # a text without bounds would never end
ROOT = Path(__file__).parents[1]
PARAMS = (ROOT / "params.yaml").read_text(encoding="utf-8")
BOMB = "".join(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10) if level else 'x'}]\n" for level in range(12))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"), ("yes", "yes"), ("No", "No"), ("true", True), ("False", False), ("null", None), ("", None),
        ("1e-05", 1e-05), ("1E5", 1e5), ("-2.5e+3", -2500.0), (".5", 0.5), ("1.", 1.0), ("-.inf", -math.inf),
        ("12", 12), ("-3", -3), ("08", 8), ("010", 10), ("0o10", 8), ("0x1F", 31), ("+1", 1), ("1_000", 1000),
        ("1:30", "1:30"), ("0.010_0", 0.01), ("1_0.5", 10.5), (".5e-3", 5e-4), ("09.5", 9.5), ("0o18", "0o18"),
        ("1:30.5", "1:30.5"), ("e5", "e5"), ("1.5.2", "1.5.2"), ("'1e-05'", "1e-05"), ("\u0663.5", "\u0663.5"),
    ],
)  # fmt: skip
def test_words_and_numbers_are_what_dvc_takes_them_for(text: str, value: object, tmp_path: Path) -> None:
    """DVC writes params.yaml too (`dvc exp run -S`), and dvc.lock."""
    (tmp_path / "a.yaml").write_text(f"key: {text}\n", encoding="utf-8")
    assert repr(read_yaml(tmp_path / "a.yaml", "")) == repr({"key": value})
    assert repr(dict(ruamel.yaml.YAML(typ="safe").load(tmp_path / "a.yaml"))) == repr({"key": value})


def refused(text: str | bytes, tmp_path: Path) -> str:
    path = tmp_path / "params.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < LONGEST
    return message


@pytest.mark.parametrize(
    ("line", "twice"),
    [
        ("tier: smoke", "tier"),
        ("extra_seeds: []", "extra_seeds"),
        ("  batch_size: 32 # 4.1", "batch_size"),
        ("  seal_freeze: {<<: *seal, method: seal_freeze, frozen_statistics: move, on_divergence: fail} # Table 7",
         "seal_freeze"),
        ("runtime:", "runtime"),
    ],
)  # fmt: skip
def test_a_key_that_is_there_twice_is_refused_by_line(line: str, twice: str, tmp_path: Path) -> None:
    lines = PARAMS.splitlines()
    place = lines.index(line)
    lines.insert(place, line if line.startswith(" ") else f"{twice}: 1")
    message = refused("\n".join(lines), tmp_path)
    assert f"line {place + 2}: {twice} is there twice, first in line {place + 1}" in message


@pytest.mark.parametrize("twice", ["{method: seal, method: llf}", "{<<: *seal, <<: *llf}", '{"a": 1, a: 2}'])
def test_a_key_twice_within_a_line_is_refused(twice: str, tmp_path: Path) -> None:
    text = PARAMS.replace("  ban: {method: ban}", f"  ban: {twice}")
    assert "is there twice" in refused(text, tmp_path)


@pytest.mark.parametrize("value", ["2024-13-41", "!!int abc", "9" * 5000, "!!float x", "!!timestamp noon", "!!bool 7"])
def test_a_value_that_cannot_be_is_refused(value: str, tmp_path: Path) -> None:
    refused(PARAMS.replace("width: 8 ", f"width: {value} "), tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 10_000, f"nested deeper than {DEEPEST}"),
        ("a: " + "{a: " * 10_000, f"nested deeper than {DEEPEST}"),
        ("\n".join("  " * depth + "a:" for depth in range(200)), f"nested deeper than {DEEPEST}"),
        (BOMB, "aliases stand for more than"),
        ("a: &a [*a]", "an alias that holds itself"),
        ("a: &a {b: *a}", "an alias that holds itself"),
        ("a: " + "x" * 500_000, "found a line of 500003 characters"),
        ("x: 1\n" * 8_000_000, "bytes, expected at most"),
        (b"\xff\xfe\x00tier", "bytes that are not UTF-8"),
        ("tier: \0", "not YAML"),
        ("!!python/object/apply:os.system [touch x]", "not YAML"),
        ("? [1, 2]\n: 3", "params.yaml: "),
        ("", "params.yaml: "),
        ("7", "params.yaml: "),
    ],
    ids=itertools.count(),  # made of the texts they would be 56 MB, in every message between processes
)
def test_a_text_without_bounds_is_refused_at_once(text: str | bytes, words: str, tmp_path: Path) -> None:
    assert words in refused(text, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "1.0e+300"), ("width", "1000000000"), ("batch_size", "1"), ("epochs_per_generation", "-1"),
        ("momentum", ".nan"), ("weight_decay", ".inf"), ("crop_padding", "99999"), ("width", "1" + "0" * 400),
        ("threads", "0"), ("seeds", "[99999999999999999999]"), ("image_size", "100000"),
    ],
)  # fmt: skip
def test_a_value_out_of_all_bounds_is_refused_by_its_key(key: str, value: str, tmp_path: Path) -> None:
    import re

    text, count = re.subn(rf"(\b{key}: )[^\s,}}]+(\]?)", rf"\g<1>{value}", PARAMS, count=1)
    assert count
    assert key in refused(text, tmp_path)


def test_many_problems_are_no_more_than_a_screen(tmp_path: Path) -> None:
    assert "more" in refused("\n".join(f"key_{number}: 1" for number in range(3000)), tmp_path)
    assert len(refused(f"tier: {'x' * 90_000}", tmp_path)) < LONGEST


@pytest.mark.parametrize("name", ["paper", "mini", "author_code"])
@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "[1]", "", "a: [", "a: 2024-13-41"])
def test_a_tiers_file_and_an_overlay_are_read_so_too(name: str, text: str, tmp_path: Path) -> None:
    for path in (ROOT / "params").glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/{name}.yaml: .*`git restore params` brings it back$"):
        tier_text("mini", "author_code", tmp_path)


def test_what_is_whole_is_read_as_ever(tmp_path: Path) -> None:
    assert read_yaml(ROOT / "params.yaml", "")["training"] == SMOKE["training"]
    assert tier_params("paper", folder=ROOT / "params").tier == "paper"
    lock = read_yaml(ROOT / "dvc.lock", "")
    assert lock["stages"]


def test_a_message_cannot_steer_a_terminal_and_is_no_longer_than_a_screen() -> None:
    assert printable("a\x1b[31mred\nline\r") == "a\\x1b[31mred\\x0aline\\x0d"
    assert len(printable("x" * 10**6)) < LONGEST + 50
    assert short("ab" * 200).startswith("abab")
    assert short("ab" * 200).endswith("(400 characters)")
