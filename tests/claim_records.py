"""Invented records of a small study, in which the methods' order is known."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.claims.claim_list import load_claims
from eval.claims.rule import Verdict
from eval.claims.verdicts import ClaimVerdict, evaluate_claims
from seal.record import HISTORY_COLUMNS, read_json, write_csv, write_json
from seal.runs import Runs
from seal.tiers import tier_params
from tests.invented_records import evaluation_facts, facts_of

ROOT = Path(__file__).parents[1]
CLAIMS = load_claims()
N, CLASSES = 400, 10
SEEDS = (0, 1, 2)
NEVER = 1e-12  # a hundred times what rounding comes to, a hundredth of ROUNDING
# Test accuracy after generations 1, 2, 3; the paper's order, by wide margins.
LEVELS = {
    "normal": (0.50,), "normal_long": (0.50, 0.44, 0.38), "normal_long_cosine": (0.30, 0.34, 0.36),
    "llf": (0.50, 0.58, 0.62), "seal": (0.50, 0.66, 0.74), "seal_s0": (0.50, 0.50, 0.50),
    "seal_reinit": (0.50, 0.60, 0.66), "seal_freeze": (0.50, 0.54, 0.56), "seal_reverse": (0.50, 0.30, 0.24),
}  # fmt: skip
PARAMS = tier_params("mini", folder=ROOT / "params")
ROW = dict.fromkeys(HISTORY_COLUMNS) | {"lr_early": 0.01, "lr_late": 0.01}
Change = Callable[[dict[str, Any]], None]


def write_run(
    results: Path, arm: str, seed: int, levels: Sequence[float], *, tier: str = "mini",
    clean: float = 0.999, ascent: float = 0.12, change: Change | None = None,
) -> Path:  # fmt: skip
    """A run whose test images are right at these shares, a little more or less by seed."""
    folder = results / f"{arm}-{seed}"
    facts = facts_of(PARAMS.run(arm, seed).model_copy(update={"tier": tier})) | {"classes": CLASSES}
    facts["generations"] |= {"num_generations": len(levels), "on_divergence": "record"}

    outcomes, rows = [], []
    for generation, level in enumerate(levels, start=1):
        right = round(N * level) + (seed * (7 + len(arm))) % 5
        correct = np.zeros(N, np.uint8)
        correct[np.random.default_rng(generation).permutation(N)[:right]] = 1
        (folder / "predictions").mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"predictions/gen-{generation:02d}.npz", correct=correct)
        outcomes.append({
            "generation": generation, "test_accuracy": right / N, "val_accuracy": level, "clean_accuracy": clean,
            "clean_loss": 1.0, "best": None,
        })  # fmt: skip
        if arm in ("seal", "seal_freeze", "seal_reinit") and generation > 1:
            place = {"generation": generation, "epoch": 0, "global_epoch": generation, "phase": "ascent"}
            rows.append(ROW | place | {"clean_accuracy_batch_statistics": ascent})
        place = {"generation": generation, "epoch": 1, "global_epoch": generation, "phase": "descent"}
        rows.append(ROW | place | {"clean_accuracy_batch_statistics": clean})

    summary = facts | {"outcomes": outcomes, "final": outcomes[-1], "diverged": None}
    if change:
        change(summary)
    write_csv(folder / "history.csv", HISTORY_COLUMNS, rows)
    write_json(folder / "summary.json", summary)
    return folder


def write_study(
    results: Path, levels: Mapping[str, Sequence[float]] = LEVELS, seeds: Sequence[int] = SEEDS, tier: str = "mini"
) -> Path:
    for arm, accuracies in levels.items():
        for seed in seeds:
            write_run(results, arm, seed, accuracies, tier=tier)
    return results


def write_evaluation(
    results: Path, run: str, name: str, values: Mapping[str, Any], arrays: Mapping[str, Any], generation: int = 3
) -> Path:
    folder = results / run / "eval" / name
    facts = evaluation_facts(results / run, name, generation)
    write_json(folder / f"gen-{generation:02d}.json", facts | {"values": values})
    np.savez(folder / f"gen-{generation:02d}.npz", **arrays)
    return folder


def write_transfer(results: Path, target: str, levels: Mapping[str, float], seeds: Sequence[int] = SEEDS) -> None:
    for arm, level in levels.items():
        for seed in seeds:
            right = round(N * level) + seed
            rule = {"rate": 0.1, "accuracy": right / N}
            correct = (np.random.default_rng(9).permutation(N) < right).astype(np.uint8)
            write_evaluation(
                results, f"{arm}-{seed}", f"transfer-{target}", {"paper": rule, "validation": rule},
                {"correct_paper": correct, "correct_validation": correct}, generation=1 if arm == "normal" else 3,
            )  # fmt: skip


def verdicts(*folders: Path) -> dict[str, ClaimVerdict]:
    return {verdict.claim.id: verdict for verdict in evaluate_claims(Runs.read(folders), CLAIMS)}


def verdict(folder: Path, claim: str) -> Verdict:
    return verdicts(folder)[claim].verdict


def write_best(results: Path, arm: str, levels: Sequence[float], seeds: Sequence[int], **changes: Any) -> None:
    """Runs of an arm's own best numbers, which the tier regime has."""
    for seed in seeds:
        name = f"{arm}_best-{seed}"
        folder = write_run(results / "apart", arm, seed, levels, tier="regime", **changes).rename(results / name)
        summary = read_json(folder / "summary.json") | {"arm": f"{arm}_best", "run": name}
        write_json(folder / "summary.json", summary)
    (results / "apart").rmdir()


def refails(results: Path, arm: str, seed: int, **changes: Any) -> None:
    """Write a run anew with something changed."""
    shutil.rmtree(results / f"{arm}-{seed}")
    write_run(results, arm, seed, LEVELS[arm], **changes)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "results")
