"""Primary claims with each method at its own best: which arms stand in, their conditions and their sentence."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from eval.claims.document import read_verdicts
from eval.claims.output import as_json
from eval.claims.rule import Verdict
from eval.claims.verdicts import evaluate_claims
from eval.report.findings import beside
from seal.record import write_json
from seal.runs import Runs
from seal.tiers import tier_params
from tests.claim_records import CLAIMS, verdicts, write_best, write_study
from tests.claims_json import absent

ROOT = Path(__file__).parents[1]
ALL = range(5)  # regime's seeds, and those of its arms of own best


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "results", seeds=ALL, tier="regime")


def write_bests(study: Path, seal: Sequence[float], llf: Sequence[float], **changes: Any) -> None:
    write_best(study, "seal", seal, ALL, **changes)
    write_best(study, "llf", llf, ALL)


def test_a_primary_claim_is_told_with_each_method_at_its_own_best_too(study: Path) -> None:
    write_bests(study, seal=(0.5, 0.8, 0.95), llf=(0.5, 0.7, 0.97))
    judged = verdicts(study)
    assert judged["seal_over_llf"].verdict == Verdict.SUPPORTED, "by the numbers fixed beforehand"
    assert {path.parent.name for path in judged["seal_over_llf"].files} >= {"llf-0", "llf_best-0", "seal-0"}

    bests = {name: claim.own_best for name, claim in judged.items() if claim.own_best}
    assert {name: best.claim.terms for name, best in bests.items()} == {
        "seal_over_llf": ["seal_best", "llf_best"],
        "seal_over_normal_long": ["seal_best", "normal_long"],  # which is best as it stands
        "seal_over_s0": ["seal_best", "seal_s0"],
    }, "primary claims alone"
    assert {name: best.verdict for name, best in bests.items()} == {
        "seal_over_llf": Verdict.REFUTED, "seal_over_normal_long": Verdict.SUPPORTED, "seal_over_s0": Verdict.SUPPORTED,
    }  # fmt: skip


def count_of_own_bests(study: Path) -> int:
    return sum(claim.own_best is not None for claim in verdicts(study).values())


@pytest.mark.parametrize(("first", "second"), [("llf", "seal"), ("seal", "llf")])
def test_own_best_waits_until_each_best_has_all_of_its_seeds(study: Path, first: str, second: str) -> None:
    """SEAL at S* is not its best while that has not been run."""
    assert count_of_own_bests(study) == 0
    write_best(study, first, (0.5, 0.7, 0.9), ALL)
    assert count_of_own_bests(study) == 0
    write_best(study, second, (0.5, 0.8, 0.95), ALL[:-1])
    assert count_of_own_bests(study) == 0
    write_best(study, second, (0.5, 0.8, 0.95), ALL[-1:])
    assert count_of_own_bests(study) == 3


def test_own_best_waits_for_the_seeds_of_what_is_best_as_it_stands(study: Path) -> None:
    write_bests(study, seal=(0.5, 0.8, 0.95), llf=(0.5, 0.7, 0.9))
    shutil.rmtree(study / "seal_s0-4")
    judged = verdicts(study)
    assert judged["seal_over_s0"].own_best is None
    assert judged["seal_over_llf"].own_best


def test_own_best_is_of_arms_and_seeds_that_the_tier_asks_for() -> None:
    for tier, own in CLAIMS.own_best.items():
        params = tier_params(tier, folder=ROOT / "params")
        assert {*own.arms.values()} == {*params.sensitivity_arms}
        assert own.seeds == params.sensitivity_seeds
        for arm, best in own.arms.items():
            assert params.run(best, 0).method == arm


def test_own_best_is_of_its_own_seeds_where_a_method_has_more(study: Path) -> None:
    write_bests(study, seal=(0.5, 0.8, 0.95), llf=(0.5, 0.7, 0.97))
    write_study(study, seeds=(5, 6, 7), tier="regime")
    judged = verdicts(study)["seal_over_llf"]
    assert judged.comparisons[0].seeds == tuple(range(8))
    assert judged.own_best
    assert judged.own_best.comparisons[0].seeds == tuple(ALL)


def test_a_tier_that_has_no_such_arms_has_no_own_best(tmp_path: Path) -> None:
    study = write_study(tmp_path / "results", tier="mini")
    assert not any(claim.own_best for claim in verdicts(study).values())


@pytest.mark.parametrize(
    ("arm", "condition"), [("seal", "R1: seal_best-0"), ("llf", "R1: llf_best-0")],
)  # fmt: skip
def test_training_must_have_fitted_for_a_methods_best_as_for_itself(study: Path, arm: str, condition: str) -> None:
    for best in ("seal", "llf"):
        write_best(study, best, (0.5, 0.6, 0.7), ALL, **({"clean": 0.5} if best == arm else {}))
    judged = verdicts(study)["seal_over_llf"]
    assert judged.verdict == Verdict.SUPPORTED
    assert judged.own_best
    assert judged.own_best.verdict == Verdict.NOT_COMPARABLE
    assert judged.own_best.reason.startswith(condition)


def test_a_methods_best_may_forget_less_than_the_method_must(study: Path) -> None:
    write_bests(study, seal=(0.5, 0.8, 0.95), llf=(0.5, 0.6, 0.7), ascent=0.9)
    best = verdicts(study)["seal_over_llf"].own_best
    assert best
    assert best.verdict == Verdict.SUPPORTED


def test_a_best_that_recovered_by_the_restated_bound_alone_says_so(study: Path) -> None:
    def lossier(summary: dict[str, Any]) -> None:
        summary["outcomes"][-1]["clean_loss"] = 1.07  # of 1: within 10%, and not within 5%

    write_bests(study, seal=(0.5, 0.8, 0.95), llf=(0.5, 0.6, 0.7), change=lossier)
    best = verdicts(study)["seal_over_llf"].own_best
    assert best
    assert (best.verdict, best.verdict_as_first_stated) == (Verdict.SUPPORTED, Verdict.NOT_COMPARABLE)

    runs = Runs.read([study])
    claims = {claim["id"]: claim for claim in as_json(runs, CLAIMS, evaluate_claims(runs, CLAIMS), {})["claims"]}
    said = beside(claims["seal_over_llf"], "own_best")
    assert said.endswith(": SUPPORTED (by the conditions as first stated, met by 0 of 5 seeds: NOT-COMPARABLE).")


def test_a_best_is_in_claims_json_and_in_its_sentence(study: Path, tmp_path: Path) -> None:
    write_bests(study, seal=(0.5, 0.6, 0.74), llf=(0.5, 0.7, 0.9))
    runs = Runs.read([study])
    written = as_json(runs, CLAIMS, evaluate_claims(runs, CLAIMS), {})
    write_json(tmp_path / "claims.json", written)

    claims = {claim["id"]: claim for claim in read_verdicts(tmp_path / "claims.json")["claims"]}
    entry = claims["seal_over_llf"]
    assert entry["own_best"]["comparisons"][0]["other"] == "llf_best"
    said = beside(entry, "own_best")
    sides = "By each method's own best numbers, SEAL at its best against LLF at its best"
    expected = (
        rf"{sides}: SEAL at its best ends [\d.]+ points below, [\d.]+% against [\d.]+% \(95% interval .*; 5 seeds\): "
        r"REFUTED\."
    )
    assert re.fullmatch(expected, said), said

    lacking = [absent("seal_best", "llf_best", "no seed has both")]
    not_run = {"verdict": "NOT-RUN", "conditions": [], "reason": "no seed has both", "comparisons": lacking}
    entry["own_best"] |= not_run
    assert beside(entry, "own_best") == f"{sides}: NOT-RUN, no seed has both."
