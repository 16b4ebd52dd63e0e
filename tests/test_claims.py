"""Verdicts on invented records in which the truth is known: orders, seeds, conditions, what is broken."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.claims.conditions import check
from eval.claims.rule import Verdict
from eval.claims.verdicts import ClaimVerdict
from seal.runs import Runs
from tests.claim_records import (
    CLAIMS,
    LEVELS,
    NEVER,
    SEEDS,
    N,
    verdicts,
    write_run,
    write_study,
    write_transfer,
)

ORDERS = [
    ("seal_over_llf", "seal", "llf"), ("seal_over_normal", "seal", "normal"), ("llf_over_normal", "llf", "normal"),
    ("seal_over_s0", "seal", "seal_s0"), ("reverse_fails", "normal_long", "seal_reverse"),
]  # fmt: skip


def test_the_paper_s_order_is_supported_where_it_is_true(study: Path) -> None:
    judged = verdicts(study)
    supported = {name for name, member in judged.items() if member.verdict == Verdict.SUPPORTED}
    assert supported == {
        "seal_over_normal_long", "seal_over_llf", "seal_over_s0", "ascent_drops_to_chance",
        "training_accuracy_100", "table_2_gen3", "table_2_gen10", "seal_over_normal",
        "llf_over_normal", "llf_over_normal_long", "normal_overfits_with_length", "table_7_gen3", "table_7_gen10",
        "descent_is_best", "reverse_fails",
    }  # fmt: skip
    assert judged["small_rate_does_not_diverge"].verdict == Verdict.WEAK, "by three runs"
    others = {member.verdict for name, member in judged.items() if name not in supported}
    assert others == {Verdict.NOT_RUN, Verdict.WEAK}
    assert judged["seal_gains_by_generation"].reason == "seal-0 ends at generation 3"
    assert judged["adjusted_decay_diverges_too"].reason == "no run of seal_full_rate"
    assert judged["transfer_family"].reason == "transfer has not been run"


@pytest.mark.parametrize(("claim", "better", "worse"), ORDERS)
def test_swapping_two_methods_records_flips_an_order(tmp_path: Path, claim: str, better: str, worse: str) -> None:
    levels = {better: LEVELS[better], worse: LEVELS[worse], "normal": LEVELS["normal"]}

    judged = verdicts(write_study(tmp_path / "before", levels))[claim]
    end = {better: LEVELS[worse][-1], worse: LEVELS[better][-1]}
    levels |= {arm: (*LEVELS[arm][:-1], level) for arm, level in end.items()}
    flipped = verdicts(write_study(tmp_path / "after", levels))[claim]
    assert (judged.verdict, flipped.verdict) == (Verdict.SUPPORTED, Verdict.REFUTED)


def test_a_chain_with_two_links_the_other_way_round_is_refuted(study: Path) -> None:
    levels = LEVELS | {"llf": (0.5, 0.6, 0.9)}
    write_study(study, levels)

    judged = verdicts(study)["table_2_gen10"]
    assert judged.verdict == Verdict.REFUTED
    assert [judgement and judgement.verdict for judgement in judged.judgements] == [Verdict.REFUTED, Verdict.SUPPORTED]


def test_ties_are_inconclusive(tmp_path: Path) -> None:
    levels = {"seal": LEVELS["seal"], "llf": LEVELS["seal"]}
    for arm, accuracies in levels.items():
        for seed in SEEDS:
            write_run(tmp_path, arm, 5 * seed, accuracies)

    judged = verdicts(tmp_path)["seal_over_llf"]
    (judgement,) = judged.judgements
    assert judgement
    assert (judged.verdict, judgement.mean, judgement.interval) == (Verdict.INCONCLUSIVE, 0, (0, 0))


@pytest.mark.parametrize(("seeds", "interval"), [((0, 1), True), ((0,), False)])
def test_fewer_than_three_seeds_are_weak(tmp_path: Path, seeds: tuple[int, ...], interval: bool) -> None:
    judged = verdicts(write_study(tmp_path, seeds=seeds))["seal_over_llf"]
    (judgement,) = judged.judgements
    assert judgement
    assert judged.verdict == Verdict.WEAK
    assert (judgement.interval is not None, judgement.item_interval is not None) == (interval, not interval)


def test_only_seeds_that_both_sides_have_are_used(study: Path) -> None:
    shutil.rmtree(study / "llf-1")

    judged = verdicts(study)["seal_over_llf"]
    assert judged.comparisons[0].seeds == (0, 2)
    assert judged.verdict == Verdict.WEAK


def test_differences_are_paired_by_seed_and_image(study: Path) -> None:
    (comparison,) = verdicts(study)["seal_over_llf"].comparisons
    correct = {
        (arm, seed): np.load(study / f"{arm}-{seed}/predictions/gen-03.npz")["correct"].astype(float)
        for arm in ("seal", "llf") for seed in SEEDS
    }  # fmt: skip
    items = 100 * np.mean([correct["seal", seed] - correct["llf", seed] for seed in SEEDS], axis=0)
    assert comparison.sample
    expected = [100 * float(correct["seal", seed].mean() - correct["llf", seed].mean()) for seed in SEEDS]
    assert comparison.sample.differences == pytest.approx(expected)
    assert comparison.sample.item_error == pytest.approx(np.std(items, ddof=1) / math.sqrt(N))


def others(judged: ClaimVerdict) -> list[str | None]:
    return [comparison.other.arm if comparison.other else None for comparison in judged.comparisons]


def test_the_better_normal_long_by_validation_images_stands_for_both(study: Path) -> None:
    assert others(verdicts(study)["seal_over_normal_long"]) == ["normal_long"]
    write_study(study, {"normal_long_cosine": (0.3, 0.4, 0.45)})
    assert others(verdicts(study)["seal_over_normal_long"]) == ["normal_long_cosine"]
    assert others(verdicts(study)["table_2_gen3"]) == ["llf", "normal_long_cosine"], "generation 3 of 3 is its end"


def worse_on_validation_images(summary: dict[str, Any]) -> None:
    for outcome in summary["outcomes"]:
        outcome["val_accuracy"] = 0.1


def test_beside_a_verdict_stands_that_by_the_other_normal_long(study: Path) -> None:
    for seed in SEEDS:
        write_run(study, "normal_long_cosine", seed, (0.2, 0.3, 0.68), change=worse_on_validation_images)
    judged = verdicts(study)
    assert (others(judged["llf_over_normal_long"]), judged["llf_over_normal_long"].verdict) == (
        ["normal_long"], Verdict.SUPPORTED,
    )  # fmt: skip
    beside = {name: member.other_normal_long for name, member in judged.items() if member.other_normal_long}
    assert others(beside["llf_over_normal_long"]) == ["normal_long_cosine"]
    assert beside["llf_over_normal_long"].verdict == Verdict.REFUTED
    assert beside["seal_over_normal_long"].verdict == Verdict.SUPPORTED
    assert not beside.keys() & {"seal_over_llf", "normal_worsens_by_generation"}, "of one cosine the end alone counts"

    for seed in SEEDS:
        shutil.rmtree(study / f"normal_long_cosine-{seed}")
    assert not any(member.other_normal_long for member in verdicts(study).values()), "there is one arm alone"


def test_a_chain_by_the_other_normal_long_keeps_its_other_links_and_conditions(study: Path) -> None:
    for seed in SEEDS:
        write_run(study, "normal_long_cosine", seed, (0.2, 0.3, 0.35), change=worse_on_validation_images)
        write_run(study, "llf", seed, (0.5, 0.6, 0.9))  # above SEAL
        write_run(study, "seal_s0", seed, LEVELS["seal"])  # the last of Holm's order
    chain = verdicts(study)["table_2_gen10"].other_normal_long
    assert chain
    assert others(chain) == ["llf", "normal_long_cosine"]
    assert chain.verdict == Verdict.REFUTED
    levels = [judgement.level for judgement in chain.judgements if judgement]
    assert levels[0] < 0.05, "a primary outcome's difference, at its level"
    assert levels[1] == 0.05

    write_run(study, "seal", 1, LEVELS["seal"], ascent=0.9)
    chain = verdicts(study)["table_2_gen10"].other_normal_long
    assert chain
    assert chain.reason.startswith("R2: seal-1")


@pytest.mark.parametrize(("arm", "passed"), [("normal_long", True), ("normal_long_cosine", False), ("llf", True)])
def test_r4_looks_at_the_normal_long_that_a_comparison_uses(study: Path, arm: str, passed: bool) -> None:
    for seed in SEEDS:
        write_run(study, "normal_long_cosine", seed, (0.2, 0.3, 0.68), change=worse_on_validation_images)
    used = {(arm, seed) for seed in SEEDS} | {("normal", seed) for seed in SEEDS}
    assert check("R4", CLAIMS.conditions["R4"], Runs.read([study]), used).passed == passed, "Normal ends at 50%"


def test_a_normal_long_that_lacks_seeds_does_not_take_them_from_the_comparison(study: Path) -> None:
    shutil.rmtree(study / "normal_long_cosine-2")
    for seed in SEEDS[:2]:
        write_run(study, "normal_long_cosine", seed, (0.3, 0.4, 0.45))
    judged = verdicts(study)
    assert others(judged["seal_over_normal_long"]) == ["normal_long"]
    assert judged["seal_over_normal_long"].verdict == Verdict.SUPPORTED, "three seeds"
    checked = check("R4", CLAIMS.conditions["R4"], Runs.read([study]), {("normal_long", seed) for seed in SEEDS})
    assert checked.passed, "it asks for no run that is not there"


def test_a_single_cosine_does_not_count_before_it_has_ended(study: Path) -> None:
    write_study(study, {"normal_long_cosine": [0.9] * 10, "normal_long": [0.1] * 10})

    judged = verdicts(study)
    assert others(judged["table_2_gen3"]) == ["llf", "normal_long"]
    assert others(judged["normal_overfits_with_length"]) == ["normal_long_cosine"]
    assert judged["seal_over_normal_long"].reason == "seal-0 has 3 generations and normal_long_cosine-0 10"


def test_without_validation_images_both_normal_long_must_be_beaten(study: Path) -> None:
    def blind(summary: dict[str, Any]) -> None:
        for outcome in summary["outcomes"]:
            outcome["val_accuracy"] = None

    for seed in SEEDS:
        write_run(study, "normal_long", seed, LEVELS["normal_long"], change=blind)
        write_run(study, "normal_long_cosine", seed, (0.2, 0.2, 0.95), change=blind)

    judged = verdicts(study)["seal_over_normal_long"]
    assert [judgement and judgement.verdict for judgement in judged.judgements] == [Verdict.SUPPORTED, Verdict.REFUTED]
    assert judged.verdict == Verdict.REFUTED
    assert judged.other_normal_long is None, "neither was chosen"


@pytest.mark.parametrize("wobble", [-NEVER, 0.0, NEVER])
def test_of_two_normal_long_that_are_as_good_the_first_stands_for_both(study: Path, wobble: float) -> None:
    def as_good(summary: dict[str, Any]) -> None:
        for outcome, level in zip(summary["outcomes"], LEVELS["normal_long"], strict=True):
            outcome["val_accuracy"] = level + wobble

    for seed in SEEDS:
        write_run(study, "normal_long_cosine", seed, (0.3, 0.4, 0.45), change=as_good)
    assert others(verdicts(study)["seal_over_normal_long"]) == ["normal_long"]


def test_a_margin_that_is_just_met_is_not_exceeded(study: Path) -> None:
    """58% less 57% less a point is 7e-15 in float64."""
    target = "cub_200_2011"
    write_transfer(study, target, {"seal": 0.58, "llf": 0.57, "normal": 0.57, "normal_long": 0.57})

    judged = verdicts(study)[f"transfer_large_margin.{target}"]
    assert judged.verdict == Verdict.INCONCLUSIVE
    claim = next(claim for claim in CLAIMS.claims if claim.id == "seal_over_llf")
    terms = {"terms": ["seal@3", "llf@3"], "test": "margin"}
    assert CLAIMS.paper_agrees(claim.model_copy(update=terms | {"tolerance": 2.12}))
    assert not CLAIMS.paper_agrees(claim.model_copy(update=terms | {"tolerance": 2.13})), "58.25 less 56.12"


def test_smoke_is_never_comparable(tmp_path: Path) -> None:
    judged = verdicts(write_study(tmp_path, tier="smoke"))
    assert {member.verdict for member in judged.values()} == {Verdict.NOT_COMPARABLE, Verdict.NOT_RUN}
    assert judged["seal_over_llf"].judgements[0] is not None, "the numbers are shown all the same"


def test_primary_claims_are_judged_at_holm_s_levels(tmp_path: Path) -> None:
    judged = verdicts(write_study(tmp_path))
    primary = [member for member in judged.values() if member.claim.primary]
    assert [member.claim.id for member in primary] == ["seal_over_normal_long", "seal_over_llf", "seal_over_s0"]

    by_p = sorted(primary, key=lambda member: member.p or 0)
    levels = [member.judged[0][1].level for member in by_p]
    assert levels == pytest.approx([0.05 / 3, 0.025, 0.05])

    shared = {(claim.judged[0][0].term, claim.judged[0][0].other): claim.judged[0][1].level for claim in primary}
    for member in judged.values():
        for comparison, judgement in member.judged:
            assert judgement.level == shared.get((comparison.term, comparison.other), 0.05)


def test_a_primary_difference_is_judged_the_same_wherever_it_stands(tmp_path: Path) -> None:
    """Between the first of Holm's levels and 5%, Table 2's order would be SUPPORTED beside a primary that is not."""
    study = tmp_path / "study"
    last = {"llf": (0.70, 0.64, 0.58, 0.64), "seal_s0": (0.80, 0.70, 0.66, 0.78)}  # SEAL ends at 0.74
    for seed in range(4):
        for arm in ("normal", "normal_long", "normal_long_cosine", "llf", "seal", "seal_s0"):
            levels = (*LEVELS[arm][:-1], last[arm][seed]) if arm in last else LEVELS[arm]
            write_run(study, arm, seed, levels)
    judged = verdicts(study)
    primary, order = judged["seal_over_llf"], judged["table_2_gen10"]
    assert 0.025 < (primary.p or 0) < 0.05
    assert primary.verdict == order.verdict == Verdict.WEAK
    (first, second) = (judgement for _, judgement in order.judged)
    assert first == primary.judged[0][1]
    assert (second.verdict, second.level) == (Verdict.SUPPORTED, 0.05)
