"""eval/claims/claims.yaml: what it covers, and the paper's own numbers."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eval.claims.claim_list import load_claims
from eval.claims.measures import MEASURES
from seal.evaluations import EVALUATIONS
from tests.claim_records import CLAIMS, ROOT

ENTRY = {
    "id": "x", "says": "x", "place": "x", "area": "C3",
    "test": "order", "measure": "transfer", "terms": ["seal", "llf"],
}  # fmt: skip


def test_a_contradiction_stands_exactly_where_the_paper_s_numbers_contradict() -> None:
    for claim in CLAIMS.claims:
        assert (claim.contradiction is not None) == (CLAIMS.paper_agrees(claim) is False), claim.id
    count = {claim.group: 0 for claim in CLAIMS.claims if claim.contradiction}
    for claim in CLAIMS.claims:
        if claim.contradiction:
            count[claim.group] += 1
    assert count == {
        "transfer_large_margin": 1, "llf_fewshot_below_normal_long_family": 1, "llf_fewshot_below_normal_long": 8,
        "affines_gain_family": 2, "affines_gain": 13, "negative_share_below_normal_long": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "differences"),
    [
        ("llf_over_normal", [2.55]), ("llf_over_normal_long", [7.65]), ("seal_over_llf", [2.30]),
        ("seal_over_normal_long", [9.95]), ("normal_worsens_by_generation", [3.21, 1.89]),
        ("transfer.cub_200_2011", [2.00, 0.42, 3.16]), ("transfer_large_margin.cub_200_2011", [1.00, -0.58]),
        ("second_block_over_llf", [18.54]), ("llf_block_4_1.Block4.1", [4.53]),
        ("max_eigenvalue_lower", [1505.85, 179.32]), ("reverse_fails", [8.22]),
        ("fewshot_cell.fewshot.chestx_ray8.1", [0.66, 1.27, 1.29]), ("seal_over_s0", []),
    ],
)  # fmt: skip
def test_the_paper_s_differences_are_those_of_its_tables(claim: str, differences: list[float]) -> None:
    by_id = {listed.id: listed for listed in CLAIMS.claims}
    assert [pair[0] for pair in CLAIMS.paper_differences(by_id[claim])] == pytest.approx(differences)


def test_the_papers_differences_after_as_many_generations_are_its_table_2s() -> None:
    by_id = {listed.id: listed for listed in CLAIMS.claims}
    differences = {"seal_over_normal_long": [[7.09]], "seal_over_llf": [[2.13]], "seal_over_normal": [[3.88]]}
    for claim, expected in differences.items():
        (after_three,) = CLAIMS.paper_differences(by_id[claim], last=3)
        assert [after_three] == [pytest.approx(expected[0])]
    assert CLAIMS.paper_differences(by_id["seal_over_llf"], last=4) == [[]], "the paper gives none"


@pytest.mark.parametrize(("condition", "key"), [("R2", "measure"), ("R3", "loss"), ("R1", "loss"), ("R4", "measure")])
@pytest.mark.parametrize("stated", ["now", "first"])
def test_a_condition_has_the_numbers_that_are_its_own_and_no_others(
    condition: str, key: str, stated: str, tmp_path: Path
) -> None:
    raw = yaml.safe_load((ROOT / "eval/claims/claims.yaml").read_text(encoding="utf-8"))
    bound = raw["conditions"][condition]
    if stated == "first":
        bound = bound.setdefault("first_stated", {"says": "x", "arms": ["seal"], "threshold": 1, "tiers": ["mini"]})
    if key in bound:
        del bound[key]
    else:
        bound[key] = "ascent_left" if key == "measure" else 5
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{condition}: `{key}` belongs to R"):
        load_claims(path)


def test_the_list_covers_the_cells() -> None:
    groups = [claim.group for claim in CLAIMS.claims]
    sizes = {"transfer": 5, "fewshot_cell": 32, "llf_fewshot_below_normal": 32, "affines_gain": 48}
    assert {name: groups.count(name) for name in sizes} == sizes
    assert len(CLAIMS.untestable) > 5


def test_claims_of_one_group_stand_in_one_area() -> None:
    areas: dict[str, set[str]] = {}
    for claim in CLAIMS.claims:
        areas.setdefault(claim.group, set()).add(claim.area)
    assert all(len(members) == 1 for members in areas.values())
    assert set().union(*areas.values()) == set(CLAIMS.areas), "no area is empty"


def test_a_measure_s_name_is_one_evaluation_s() -> None:
    names = ["test_accuracy", "clean_accuracy", "ascent_over_chance", "ascent_left", "diverged"]
    for evaluation in EVALUATIONS.values():
        names += evaluation.measures
    assert list(MEASURES) == names


def written(path: Path, changes: dict[str, Any]) -> Path:
    """The list with one claim, and with these changes."""
    raw = yaml.safe_load((ROOT / "eval/claims/claims.yaml").read_text())
    raw["claims"] = [ENTRY]
    path.write_text(yaml.safe_dump(raw | changes))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measure": "acuracy"}, "measure acuracy, expected one of"),
        ({"terms": ["seal"]}, "found one term"),
        ({"terms": ["SEAL", "llf"]}, "term 'SEAL', expected arm"),
        ({"tolerance": 1}, "without `why`"),
        ({"bound": 1}, "`bound` belongs to a threshold"),
        ({"conditions": ["R9"]}, "R1"),
        ({"tolerence": 1}, "Extra inputs"),
        ({"area": "C9"}, "x: area C9, expected one of C1, C2"),
        ({"area": None}, "area: Input should be a valid string"),
        ({"terms": ["seal", "lfl"]}, "x: arm lfl, expected one of params/paper.yaml: normal, normal_long, "),
        ({"terms": ["seal_s002", "llf"]}, "x: arm seal_s002, expected one of params/paper.yaml: "),
    ],
)
def test_a_bad_entry_is_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = written(tmp_path / "claims.yaml", {"claims": [ENTRY | change]})
    with pytest.raises(ValueError, match="claims") as caught:
        load_claims(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_condition_is_one_line(tmp_path: Path) -> None:
    condition = {"says": "x", "arms": ["normal", "sael"], "threshold": 1}
    path = written(tmp_path / "claims.yaml", {"conditions": {"R1": condition}})
    with pytest.raises(ValueError, match="arm sael") as caught:
        load_claims(path)
    assert "conditions.R1: arm sael, expected one of params/paper.yaml: normal, " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_claim_that_stands_there_twice_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "claims.yaml", {"claims": [ENTRY, ENTRY]})
    with pytest.raises(ValueError, match="x stands there twice"):
        load_claims(path)
