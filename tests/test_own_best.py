"""Primary claims with each method at its own best: which arms stand in, their conditions and their sentence."""

import re
from pathlib import Path

import pytest

from eval.claims.document import read_verdicts
from eval.claims.output import as_json
from eval.claims.rule import Verdict
from eval.claims.verdicts import evaluate_claims
from eval.report.findings import beside
from seal.record import write_json
from seal.runs import Runs
from tests.claim_records import CLAIMS, verdicts, write_best
from tests.claims_json import absent


def test_a_primary_claim_is_told_with_each_method_at_its_own_best_too(study: Path) -> None:
    assert verdicts(study)["seal_over_llf"].own_best is None

    write_best(study, "llf", (0.5, 0.7, 0.9))
    (study / "llf_best-1").rename(study.parent / "llf_best-1")
    assert verdicts(study)["seal_over_llf"].own_best is None, "not before it has all of the method's seeds"

    (study.parent / "llf_best-1").rename(study / "llf_best-1")
    judged = verdicts(study)
    assert judged["seal_over_llf"].verdict == Verdict.SUPPORTED, "by the numbers fixed beforehand"
    best = judged["seal_over_llf"].own_best
    assert best
    assert best.claim.terms == ["seal", "llf_best"]
    assert best.verdict == Verdict.REFUTED
    assert {path.parent.name for path in judged["seal_over_llf"].files} >= {"llf-0", "llf_best-0", "seal-0"}
    assert judged["seal_over_normal_long"].own_best is None, "none of its methods has a best apart"
    assert {name for name, claim in judged.items() if claim.own_best} == {"seal_over_llf"}, "primary claims alone"

    write_best(study, "seal", (0.5, 0.8, 0.95))
    write_best(study, "normal_long", (0.5, 0.5, 0.5))
    judged = verdicts(study)
    terms = {name: claim.own_best.claim.terms for name, claim in judged.items() if claim.own_best}
    assert terms == {
        "seal_over_llf": ["seal_best", "llf_best"], "seal_over_normal_long": ["seal_best", "normal_long_best"],
        "seal_over_s0": ["seal_best", "seal_s0"],
    }  # fmt: skip
    assert {claim.own_best.verdict for claim in judged.values() if claim.own_best} == {Verdict.SUPPORTED}


@pytest.mark.parametrize(
    ("arm", "changes", "condition"),
    [("seal", {"clean": 0.5}, "R1: seal_best-0"), ("llf", {"clean": 0.5}, "R1: llf_best-0")],
)
def test_training_must_have_fitted_for_a_methods_best_as_for_itself(
    study: Path, arm: str, changes: dict[str, float], condition: str
) -> None:
    write_best(study, arm, (0.5, 0.6, 0.7), **changes)
    judged = verdicts(study)["seal_over_llf"]
    assert judged.verdict == Verdict.SUPPORTED
    assert judged.own_best
    assert judged.own_best.verdict == Verdict.NOT_COMPARABLE
    assert judged.own_best.reason.startswith(condition)


def test_a_methods_best_may_forget_less_than_the_method_must(study: Path) -> None:
    write_best(study, "seal", (0.5, 0.6, 0.7), ascent=0.9)
    best = verdicts(study)["seal_over_llf"].own_best
    assert best
    assert best.verdict == Verdict.SUPPORTED


def test_a_best_is_in_claims_json_and_in_its_sentence(study: Path, tmp_path: Path) -> None:
    write_best(study, "llf", (0.5, 0.7, 0.9))
    runs = Runs.read([study])
    written = as_json(runs, CLAIMS, evaluate_claims(runs, CLAIMS), {})
    write_json(tmp_path / "claims.json", written)

    claims = {claim["id"]: claim for claim in read_verdicts(tmp_path / "claims.json")["claims"]}
    entry = claims["seal_over_llf"]
    assert entry["own_best"]["comparisons"][0]["other"] == "llf_best"
    said = beside(entry, "own_best")
    expected = (
        r"By each method's own best numbers, SEAL against LLF at its best: SEAL ends [\d.]+ points below, [\d.]+% "
        r"against [\d.]+% \(95% interval .*; 3 seeds\): REFUTED\."
    )
    assert re.fullmatch(expected, said), said

    lacking = [absent("seal", "llf_best", "no seed has both")]
    entry["own_best"] |= {"verdict": "NOT-RUN", "reason": "no seed has both", "comparisons": lacking}
    sides = "By each method's own best numbers, SEAL against LLF at its best"
    assert beside(entry, "own_best") == f"{sides}: NOT-RUN, no seed has both."
