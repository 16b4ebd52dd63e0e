"""What the names of DVC's stages say, and that those which the parameters ask for are DVC's own."""

from itertools import chain
from pathlib import Path

import pytest
import yaml

from seal.config import parse_params
from seal.planning.stages import stages_of_tier
from seal.stage_names import TRAINED, asked_stages, kept_stages, parts, stage_of
from seal.tiers import tier_params, tier_text

ROOT = Path(__file__).parents[1]
OTHERS = ("fetch", "pack", "curves", "claims", "report")  # of no run


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("base@0", ("base", "normal-0", None)),
        ("train_extra@seal_s0-12", ("train_extra", "seal_s0-12", None)),
        ("fewshot_affines@seal-0-isic_2018", ("fewshot_affines", "seal-0", "isic_2018")),
        ("pack@cub_200_2011", ("pack", None, "cub_200_2011")),
        ("report", ("report", None, None)),
    ],
)
def test_a_stage_name_falls_into_its_parts(stage: str, expected: tuple[str, str | None, str | None]) -> None:
    assert parts(stage) == expected


@pytest.mark.parametrize("tier", ["smoke", "mini", "regime", "paper"])
def test_the_stages_that_make_runs_are_those_of_dvc(tier: str) -> None:
    asked = asked_stages(tier_params(tier))
    assert [*asked] == tier_params(tier).run_names()
    made = [stage for stage in stages_of_tier(tier) if parts(stage).name not in OTHERS]
    assert sorted(chain.from_iterable(stages.values() for stages in asked.values())) == made


def test_so_are_those_of_extra_arms_that_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = yaml.safe_load(tier_text("smoke")) | {
        "extra_arms": ["seal_s0"], "extra_seeds": [0, 5], "evaluated_extra_arms": ["seal_s0"],
    }  # fmt: skip
    monkeypatch.setattr("seal.planning.stages.tier_text", lambda tier: yaml.safe_dump(changed))
    asked = asked_stages(parse_params(changed, "changed"))
    assert asked["seal_s0-5"]["hessian"] == "hessian_extra@seal_s0-5"
    made = [stage for stage in stages_of_tier("smoke") if parts(stage).name not in OTHERS]
    assert sorted(chain.from_iterable(stages.values() for stages in asked.values())) == made


def test_a_kept_run_says_its_stages_and_one_that_does_not_has_none(tmp_path: Path) -> None:
    stages = kept_stages(ROOT / "expected/mini/imp-0")
    assert stages[TRAINED] == "train_sensitivity@imp-0"
    assert stages["transfer-digits"] == "transfer_sensitivity@imp-0-digits"
    assert stages["hessian"] == "hessian_sensitivity@imp-0"
    assert kept_stages(ROOT / "expected/mini/normal-0")[TRAINED] == "base@0"
    assert kept_stages(tmp_path) == {}


def test_without_a_list_a_stage_is_a_main_arms() -> None:
    assert [stage_of("normal-3"), stage_of("seal-3")] == ["base@3", "train@seal-3"]
    assert [stage_of("seal-3", "hessian"), stage_of("seal-3", "transfer-digits")] == [
        "hessian@seal-3",
        "transfer@seal-3-digits",
    ]
