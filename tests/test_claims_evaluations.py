"""Verdicts on what the evaluations wrote: families, cells, blocks, missing data."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.claims.rule import Verdict
from eval.report.numbers import last_numbers
from seal.evaluations import EVALUATIONS
from seal.record import HISTORY_COLUMNS, read_history, read_json, write_csv, write_json
from seal.runs import Runs
from tests.claim_records import ROW, SEEDS, N, refails, verdict, verdicts, write_evaluation, write_run, write_transfer
from tests.invented_records import evaluation_facts


def test_a_family_is_one_number_a_seed_over_its_cells(study: Path) -> None:
    arms = {"seal": 0.7, "normal": 0.5, "normal_long": 0.4, "llf": 0.6}
    write_transfer(study, "eurosat", arms)
    write_transfer(study, "digits", arms | {"llf": 0.72})

    judged = verdicts(study)["transfer_family"]
    against_llf = judged.comparisons[-1]
    assert against_llf.sample
    assert against_llf.cells == ("digits", "eurosat")
    assert against_llf.sample.differences == pytest.approx((4.0, 4.0, 4.0))
    assert judged.verdict == Verdict.SUPPORTED
    order = np.random.default_rng(9).permutation(N)
    errors = []
    for level in (0.72, 0.6):
        by_seed = [(order < 280 + seed) * 1.0 - (order < round(N * level) + seed) for seed in SEEDS]
        errors.append(100 * np.std(np.mean(by_seed, axis=0), ddof=1) / math.sqrt(N))
    assert against_llf.sample.item_error == pytest.approx(math.hypot(*errors) / 2)


def test_the_paper_s_own_targets_have_verdicts_of_their_own(study: Path) -> None:
    write_transfer(study, "cub_200_2011", {"seal": 0.09, "normal": 0.06, "normal_long": 0.0875, "llf": 0.05})

    judged = verdicts(study)
    assert judged["transfer.cub_200_2011"].verdict != Verdict.NOT_RUN
    assert judged["transfer_large_margin.cub_200_2011"].verdict == Verdict.REFUTED, "0.25 points, expected above 1"
    assert judged["transfer.flowers_102"].verdict == Verdict.NOT_RUN


def test_missing_data_is_said_and_not_counted(study: Path) -> None:
    arms = {"seal": 0.7, "normal": 0.5, "normal_long": 0.4, "llf": 0.6}
    for arm in arms:
        for seed in SEEDS:
            name, reason = "transfer-cub_200_2011", {"status": "SKIPPED-DATA", "reason": "cub is not there"}
            facts = evaluation_facts(study / f"{arm}-{seed}", name, 1)
            write_json(study / f"{arm}-{seed}/eval/{name}/skipped.json", facts | reason)

    judged = verdicts(study)
    assert judged["transfer_family"].verdict == judged["transfer.cub_200_2011"].verdict == Verdict.SKIPPED_DATA
    write_transfer(study, "digits", arms)

    judged = verdicts(study)
    assert judged["transfer_family"].verdict == Verdict.SUPPORTED
    assert judged["transfer_family"].comparisons[0].cells == ("digits",)
    assert judged["transfer_family"].comparisons[0].notes[0].startswith("without cub_200_2011: ")
    assert judged["transfer.cub_200_2011"].verdict == Verdict.SKIPPED_DATA


def test_few_shot_cells_and_what_the_affines_gain(study: Path) -> None:
    draws = np.random.default_rng(3)
    for arm, level in {"seal": 0.8, "normal": 0.6, "normal_long": 0.5, "llf": 0.4}.items():
        for seed in SEEDS:
            for name, gain, episodes in (("fewshot", 0.0, 60), ("fewshot_affines", 0.1, 40)):
                accuracy = level + gain + 0.02 * draws.random(episodes)
                done = {"accuracy": float(accuracy.mean())}
                shots = {"5": done, "20": done, "50": {"skipped": "too few images"}}
                for target in ("eurosat", "digits"):
                    write_evaluation(
                        study, f"{arm}-{seed}", f"{name}-{target}", {"shots": shots},
                        {"accuracy_5": accuracy, "accuracy_20": accuracy}, generation=1 if arm == "normal" else 3,
                    )  # fmt: skip

    judged = verdicts(study)
    cells = tuple(f"{name} eurosat {shot}-shot" for name in ("fewshot", "fewshot_affines") for shot in (5, 20))
    assert judged["fewshot_family"].comparisons[0].cells == cells, "digits, which the paper has not, do not count"
    assert judged["affines_gain_family.seal"].comparisons[0].cells == ("eurosat 20-shot",)
    expected = {
        "fewshot_family": Verdict.SUPPORTED, "fewshot_cell.fewshot.eurosat.5": Verdict.SUPPORTED,
        "fewshot_cell.fewshot.eurosat.50": Verdict.SKIPPED_DATA, "fewshot_cell.fewshot.isic_2018.5": Verdict.NOT_RUN,
        "affines_gain.seal.eurosat.5": Verdict.SUPPORTED, "affines_gain_family.normal": Verdict.SUPPORTED,
        "llf_fewshot_below_normal_family": Verdict.SUPPORTED,
        "llf_fewshot_below_normal_long.fewshot.eurosat.5": Verdict.SUPPORTED,
    }  # fmt: skip
    assert {name: judged[name].verdict for name in expected} == expected


def write_blocks(study: Path, blocks: list[str]) -> None:
    """Probes of eight blocks, four early and four late."""
    labels = np.arange(N) % 10
    for arm, early, late in (("normal", 200, 300), ("llf", 240, 280), ("seal", 300, 340), ("normal_long", 160, 300)):
        for seed in SEEDS:
            right = np.array([early + seed] * 4 + [late - seed] * 4)
            votes = np.where(np.arange(N)[:, None] < right, labels[:, None], labels[:, None] + 1)
            values = {"blocks": blocks, "knn_accuracy": (right / N).tolist(), "mean_depth": 3.0}
            write_evaluation(
                study, f"{arm}-{seed}", "prediction_depth", values,
                {"votes": votes, "labels": labels, "depth": np.full(N, 3)}, generation=1 if arm == "normal" else 3,
            )  # fmt: skip


def test_blocks_are_chosen_by_name_and_threshold(study: Path) -> None:
    blocks = [f"Block{layer}.{block}" for layer in (1, 2, 3, 4) for block in (1, 2)]
    write_blocks(study, blocks)

    judged = verdicts(study)
    cells = {name: judged[name].comparisons[0].cells for name in judged if judged[name].comparisons[0].cells}
    assert cells["every_block"] == tuple(blocks)
    assert cells["second_block_over_llf"] == ("Block2.2",)
    assert cells["normal_early_blocks_worsen"] == tuple(blocks[:4])
    assert cells["llf_late_blocks_worsen"] == tuple(blocks[4:])
    expected = {
        "second_block_over_llf", "every_block", "llf_blocks_over_normal", "normal_early_blocks_worsen",
        "seal_late_blocks_improve", "llf_late_blocks_worsen", "llf_block_4_1.Block4.1", "llf_block_4_1.Block4.2",
    }  # fmt: skip
    assert {judged[name].verdict for name in expected} == {Verdict.SUPPORTED}
    sample = judged["second_block_over_llf"].comparisons[0].sample
    assert sample
    assert sample.item_error > 0


@pytest.mark.parametrize(
    ("block", "threshold", "why"),
    [
        ("encoder.layers.encoder_layer_{}", "encoder.layers.encoder_layer_4", "found encoder.layers.encoder_layer_4"),
        ("layer{}", "layer3", "found layer0"),
        ("layer{}.0", "fc", "found layer0.0"),
        ("Block1.{}", "features.3", "found features.3"),
        ("Block1.{}", "layer3.0.conv1", "found layer3.0.conv1"),
    ],
)
def test_another_networks_blocks_are_compared_by_name_alone(study: Path, block: str, threshold: str, why: str) -> None:
    """Which of them are early and which late is not told by their names."""

    def of_another(summary: dict[str, Any]) -> None:
        summary["generations"]["layer_threshold"] = threshold

    for arm in ("llf", "seal", "normal_long"):
        for seed in SEEDS:
            refails(study, arm, seed, change=of_another)
    blocks = [block.format(number) for number in range(8)]
    write_blocks(study, blocks)

    judged = verdicts(study)
    for name in ("every_block", "llf_blocks_over_normal"):
        assert judged[name].comparisons[0].cells == tuple(blocks)
        assert judged[name].verdict == Verdict.SUPPORTED
    reasons = {
        "normal_early_blocks_worsen": why, "seal_late_blocks_improve": why, "llf_late_blocks_worsen": why,
        "second_block_over_llf": "no block Block2.last", "llf_block_4_1.Block4.1": "no block Block4.1",
    }  # fmt: skip
    for name, reason in reasons.items():
        assert judged[name].verdict == Verdict.NOT_RUN
        assert judged[name].reason.endswith(reason), name


@pytest.mark.parametrize(("batches", "verdict"), [(160, Verdict.SUPPORTED), (40, Verdict.WEAK)])
def test_lower_is_better_where_the_claim_says_so(study: Path, batches: int, verdict: Verdict) -> None:
    limit = 1 - 0.05 ** (1 / batches)
    largest = {"seal": 800.0, "normal": 900.0, "normal_long": 2000.0, "llf": 1000.0}
    for arm, value in largest.items():
        for seed in SEEDS:
            values = {"max_eigenvalue": value + seed, "negative_fraction": 0.0, "negative_upper_limit": limit}
            write_evaluation(
                study, f"{arm}-{seed}", "hessian", {"lanczos": values}, {"eigenvalues_lanczos": np.ones(5)},
                generation=1 if arm == "normal" else 3,
            )  # fmt: skip

    judged = verdicts(study)
    verdict_of = {name: member.verdict for name, member in judged.items()}
    assert verdict_of["max_eigenvalue_lower"] == verdict_of["max_eigenvalue_below_normal"] == Verdict.SUPPORTED
    assert verdict_of["no_negative_eigenvalues"] == verdict, "none seen among few is no sign that there are none"
    sample = judged["no_negative_eigenvalues"].comparisons[0].sample
    assert sample
    assert 1.96 * sample.item_error == pytest.approx(100 * (1 - 0.05 ** (1 / (3 * batches))), rel=1e-4)
    assert verdict_of["negative_share_below_normal_long"] == Verdict.INCONCLUSIVE


def test_a_divergence_is_counted_by_its_own_claims_and_spoils_others(study: Path) -> None:
    def gone(summary: dict[str, Any]) -> None:
        summary["diverged"] = {"generation": 2, "epoch": 0, "batch": 3}
        summary["outcomes"] = summary["outcomes"][:1]
        summary["final"] = summary["outcomes"][0]

    for seed in SEEDS:
        folder = write_run(study, "seal_freeze", seed, (0.5, 0.5), change=gone)
        shutil.copytree(folder, study / f"seal_full_rate-{seed}")
        summary = read_json(folder / "summary.json") | {"arm": "seal_full_rate", "run": f"seal_full_rate-{seed}"}
        write_json(study / f"seal_full_rate-{seed}/summary.json", summary)
    refails(study, "llf", 2, change=gone)

    judged = verdicts(study)
    assert judged["adjusted_decay_diverges_too"].verdict == Verdict.WEAK, "of three the share's limit is 37%"
    assert judged["seal_over_llf"].verdict == Verdict.NOT_COMPARABLE
    assert judged["seal_over_llf"].reason == "llf-2 diverged in generation 2"


def test_a_diverged_runs_evaluation_of_an_earlier_generation_is_not_its_last(study: Path) -> None:
    """Prediction depth looks at generation 1 too, which a run that diverges later has."""
    write_blocks(study, [f"Block{layer}.{block}" for layer in (1, 2, 3, 4) for block in (1, 2)])
    assert verdict(study, "every_block") == Verdict.SUPPORTED

    earlier = study / "seal-1/eval/prediction_depth"
    for suffix in (".json", ".npz"):
        (earlier / "gen-03").with_suffix(suffix).rename((earlier / "gen-01").with_suffix(suffix))
    write_json(earlier / "gen-01.json", read_json(earlier / "gen-01.json") | {"generation": 1})
    summary = read_json(study / "seal-1/summary.json")
    summary |= {"diverged": {"generation": 3, "epoch": 0, "batch": 3}, "outcomes": summary["outcomes"][:2]}
    write_json(study / "seal-1/summary.json", summary | {"final": summary["outcomes"][-1]})

    judged = verdicts(study)["every_block"]
    assert judged.verdict == Verdict.NOT_COMPARABLE
    assert judged.reason == "seal-1 diverged in generation 3"
    numbers = last_numbers(
        Runs.read([study]).of("seal"), "prediction_depth", EVALUATIONS["prediction_depth"].measures["mean_depth"]
    )
    assert len(numbers.values) == 2
    assert [missing.status for missing in numbers.missing] == ["NOT-COMPARABLE"]


def evaluated(study: Path, run: str, **changes: Any) -> None:
    """A transfer to digits with these of its file's facts."""
    (path,) = (study / run / "eval/transfer-digits").glob("gen-*.json")
    write_json(path, read_json(path) | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"params": {"epochs": 7}}, "found epochs 100 in "),
        ({"params": {"epochs": 100, "precision": "bfloat16"}}, "found precision float32 in "),
        ({"data_sha256": "others"}, "found data_sha256 "),
    ],
)
def test_networks_that_were_evaluated_otherwise_are_not_compared(
    study: Path, changes: dict[str, Any], words: str
) -> None:
    write_transfer(study, "digits", {"seal": 0.8, "llf": 0.4, "normal": 0.5, "normal_long": 0.6})
    assert verdict(study, "transfer_family") == Verdict.SUPPORTED
    for seed in SEEDS:
        for arm in ("seal", "llf", "normal", "normal_long"):
            evaluated(study, f"{arm}-{seed}", params={"epochs": 100}, data_sha256="images")

    evaluated(study, "normal_long-1", **changes)
    judged = verdicts(study)
    assert judged["transfer_family"].verdict == Verdict.NOT_COMPARABLE
    assert judged["transfer_family"].reason.startswith(words)
    assert "normal_long-1/eval/transfer-digits" in judged["transfer_family"].reason
    assert judged["llf_transfer_below_normal_long_family"].verdict == Verdict.NOT_COMPARABLE
    assert judged["seal_over_llf"].verdict == Verdict.SUPPORTED, "it does not use that evaluation"


@pytest.mark.parametrize(
    "params",
    [
        {"memory_mb": 7, "feature_batch_size": 3},
        {"targets": ["digits"]},
        {"label_smoothing": 0.5},
        {"precision": "float32"},
        {},
    ],
)
def test_what_changes_no_value_or_is_the_trainings_own_may_differ(study: Path, params: dict[str, Any]) -> None:
    write_transfer(study, "digits", {"seal": 0.8, "llf": 0.4, "normal": 0.5, "normal_long": 0.6})
    for seed in SEEDS:
        evaluated(study, f"seal-{seed}", params={"epochs": 100, "memory_mb": 9, "label_smoothing": 0.1})
        evaluated(study, f"llf-{seed}", params={"epochs": 100} | params)
    assert verdict(study, "transfer_family") == Verdict.SUPPORTED


def test_runs_whose_divergence_would_have_left_no_record_say_nothing_about_it(tmp_path: Path) -> None:
    def refused(summary: dict[str, Any]) -> None:
        summary["generations"]["on_divergence"] = "fail"

    for seed in range(5):
        write_run(tmp_path, "seal", seed, (0.5, 0.5), ascent=0.05, change=refused)
    judged = verdicts(tmp_path)["small_rate_does_not_diverge"]
    assert judged.verdict == Verdict.NOT_RUN
    assert judged.reason == "seal-0 would have left no record, had it diverged (`on_divergence: fail`)"


@pytest.mark.parametrize(("seeds", "verdict"), [(3, Verdict.WEAK), (4, Verdict.WEAK), (5, Verdict.SUPPORTED)])
def test_how_few_runs_without_a_divergence_say_that_there_are_none(
    tmp_path: Path, seeds: int, verdict: Verdict
) -> None:
    """Of n runs that all end, less than 1 - 0.05^(1/n) diverge, at 95%: below a half from five on."""
    for seed in range(seeds):
        write_run(tmp_path, "seal", seed, (0.5, 0.5), ascent=0.05)

    judged = verdicts(tmp_path)["small_rate_does_not_diverge"]
    assert judged.verdict == verdict
    ((_, judgement),) = judged.judged
    assert judgement.interval == pytest.approx((0.5 - (1 - 0.05 ** (1 / seeds)), 1.5 - 0.05 ** (1 / seeds)))


@pytest.mark.parametrize("cut_off", [2, 3])
def test_an_ascent_that_a_divergence_cuts_off_was_not_measured_and_spoils_no_claim_but_its_own(
    study: Path, cut_off: int
) -> None:
    """The history then ends in an epoch of ascent without clean measurement."""
    for seed in SEEDS:
        folder = write_run(study, "seal", seed, (0.5, 0.5, 0.5), ascent=0.05)
        rows = [row for row in read_history(folder / "history.csv") if row["generation"] < cut_off]
        last = {"generation": cut_off, "epoch": 0, "global_epoch": 9, "phase": "ascent"}
        write_csv(folder / "history.csv", HISTORY_COLUMNS, [*rows, ROW | last])

        summary = read_json(folder / "summary.json")
        summary["diverged"] = {"generation": cut_off, "epoch": 1, "batch": 0}
        summary["outcomes"] = summary["outcomes"][: cut_off - 1]
        summary["final"] = summary["outcomes"][-1]
        write_json(folder / "summary.json", summary)

    judged = verdicts(study)
    assert judged["seal_over_llf"].reason == f"seal-0 diverged in generation {cut_off}"
    ascent = judged["ascent_drops_to_chance"]
    if cut_off == 2:
        assert ascent.verdict == Verdict.NOT_COMPARABLE
        assert ascent.reason == "seal-0 diverged in its first ascent"
    else:
        assert ascent.comparisons[0].sample, "of the ascent that ended"
