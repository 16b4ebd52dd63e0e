"""The tables of artifact.md that repeat what the code holds say the same, and its examples run as they stand."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import typer.main
import yaml

from eval.claims.claim_list import load_claims
from eval.report.artifact_tables import filled
from eval.report.unrun import committed_seconds
from seal.cli import app
from seal.clock import Clock
from seal.config import Params
from seal.data.sources import SOURCES
from seal.data.table import data_table
from seal.files import with_table
from seal.models import build
from seal.planning.stages import stages_of_tier
from seal.rng import stream
from seal.stage_names import parts
from seal.tiers import TIERS, tier_text
from seal.trainer import Trainer
from tests.small import CPU, small_data
from tests.strategies import SMOKE, params_with

TEXT = (Path(__file__).parents[1] / "artifact.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "folder"])
def test_the_data_table_has_every_source_with_its_counts(name: str) -> None:
    (line,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{name}` | ") and line.count("|") == 6)
    classes, images, licence, how = (cell.strip() for cell in line.split("|")[2:-1])
    source = SOURCES[name]
    assert int(classes) == source.classes
    assert licence == source.licence
    if {"train", "test"} <= set(source.images):
        counts = [f"{source.images[split]:,}" if split in source.images else "-" for split in ("train", "val", "test")]
        assert images == " / ".join(counts)
    elif all_images := source.images.get(""):
        assert images == f"{all_images:,}"

    downloaded = [archive for archive in source.archives if archive.url is not None]
    assert how.startswith("downloaded" if downloaded else "ships" if source.package else "by hand")
    if downloaded:
        assert f"{sum(archive.bytes or 0 for archive in downloaded) / 1e9:.1f} GB" in how


def test_the_data_table_is_not_stale() -> None:
    assert with_table(TEXT, "data", data_table()) == TEXT, "artifact.md is stale: run `python -m seal.data.table`"
    assert with_table(TEXT.replace("| 10,015 |", "| 10,016 |"), "data", data_table()) == TEXT


def test_the_tables_of_claims_are_not_stale() -> None:
    assert filled(TEXT, load_claims()) == TEXT, "artifact.md is stale: run `make tables`"


def test_a_stale_table_is_found_and_a_lost_one_named() -> None:
    assert filled(TEXT.replace("seal 59.22, llf 56.92 |", "seal 61.22, llf 56.92 |"), load_claims()) == TEXT
    with pytest.raises(ValueError, match="expected one <!-- table: untestable -->"):
        filled(TEXT.replace("<!-- table: untestable -->", ""), load_claims())


@pytest.mark.parametrize("name", re.findall("<!-- table: (.*) -->", TEXT))
def test_a_table_without_its_end_takes_nothing_of_the_page(name: str) -> None:
    begin, end = f"<!-- table: {name} -->\n", "<!-- end -->"
    before, _, rest = TEXT.partition(begin)
    with pytest.raises(ValueError, match=f"found <!-- table: {name} --> without its <!-- end -->, expected both"):
        with_table(before + begin + rest.replace(end, "", 1), name, "new")
    with pytest.raises(ValueError, match=f"found 2, expected one <!-- table: {name} -->"):
        with_table(TEXT + begin + end, name, "new")
    with pytest.raises(ValueError, match=f"found 0, expected one <!-- table: {name} -->"):
        with_table("", name, "new")


def test_a_claim_has_one_tolerance_in_both_tables() -> None:
    table = TEXT.partition("<!-- table: tolerances -->")[2].partition("<!-- end -->")[0]
    tolerances = dict(re.findall(r"^\| (`\w+`) \| ([-\d.]+) \|", table, re.MULTILINE))
    tested = {}
    for name, number in re.findall(r"^\| C\S+ \| (`\w+`).* (?:tolerance|more than) ([-\d.]+)[ ;]", TEXT, re.MULTILINE):
        tested[name] = number
    assert tested == tolerances
    assert {float(number) for number in tolerances.values()} == {1.0}


def test_every_tier_is_in_the_table_of_tiers() -> None:
    requirements = TEXT.partition("\n## Requirements\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\w+) \| ", requirements, re.MULTILINE) == ["tier", *TIERS]


def test_minis_hours_are_those_of_its_timings() -> None:
    root = Path(__file__).parents[1]
    timings = root / "expected/mini/timings"
    kinds = {path.stem.partition("@")[0] for path in timings.glob("*.csv")}
    seconds = sum(sum(committed_seconds(timings, kind)) for kind in kinds)
    told = re.findall(r"some (\d+) core-hours, of which `expected/mini/timings` has (\d+)", TEXT)
    assert told == [("17", f"{seconds / 3600:.0f}")], "a base and half of a training are not in them"
    assert "some 17 core-hours" in (root / "README.md").read_text(encoding="utf-8")


def test_every_claim_is_in_an_area_with_an_experiment() -> None:
    claims = load_claims()
    assert {claim.area for claim in claims.claims} == {*claims.areas}
    for name in claims.areas:
        assert TEXT.count(f"\n| {name.replace('C', 'E')} | {name} | ") == 1


def test_experiments_name_stages_of_the_pipeline_and_commands() -> None:
    stages = set(yaml.safe_load(Path(__file__).parents[1].joinpath("dvc.yaml").read_text())["stages"])
    there = {parts(stage)[0] for stage in stages_of_tier("smoke")}
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = re.findall(r"^(\| E\d .*?`(dvc repro|seal) ([a-z_ ]+)`.*)$", TEXT, re.MULTILINE)
    assert len(rows) == len(load_claims().areas)
    for row, command, names in rows:
        if command == "seal":
            assert names in commands
        else:
            assert set(names.split()) <= stages
            # A stage that a tier's matrix leaves empty matches nothing, and DVC then runs all.
            assert set(names.split()) <= there or "Not at smoke" in row


def examples(language: str) -> list[str]:
    """Blocks of code in that language under How to reuse."""
    section = TEXT.split("\n## How to reuse\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def test_another_threshold() -> None:
    arms, end = examples("yaml")[0], "\nsource:"
    assert arms.startswith("arms:\n")
    whole = yaml.safe_load(tier_text("smoke").replace(end, arms.removeprefix("arms:") + end, 1))
    params = params_with(
        arms=whole["arms"], model={"depth": 18, "width": 2, "stem": "small", "classifier_bias": "zero"}
    )
    run = params.run("seal_layer2", 0)
    trainer = Trainer(run, small_data(run), CPU)
    assert {name.partition(".")[0] for name in trainer.sides.early} == {"conv1", "bn1", "layer1"}
    rules = trainer.begin_epoch(Clock(2, 0))
    assert rules["early"].maximize
    assert not rules["late"].maximize


def test_another_resnet() -> None:
    model = Params.model_validate(SMOKE | yaml.safe_load(examples("yaml")[1])).model
    assert build(model, 10, stream(0, "a test"))(torch.zeros(2, 3, 16, 16)).shape == (2, 10)


def test_another_backbone_in_ones_own_loop(capsys: pytest.CaptureFixture[str]) -> None:
    after: dict[str, Any] = {}
    exec(examples("python")[0], after)
    assert set(after["sides"].early) | set(after["sides"].late) == {
        name for name, _ in after["model"].named_parameters()
    }
    assert "early parameters" in capsys.readouterr().out
