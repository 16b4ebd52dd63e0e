"""The report of an invented record: what its tables say, and how a browser shows it."""

import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from eval.claims.__main__ import main as judge
from eval.claims.rule import limit_of_all
from eval.report.__main__ import main
from eval.report.accuracy import table_2
from eval.report.cells import below_limit
from eval.report.curves import probe_curves
from eval.report.document import Section, Table
from eval.report.evidence import rests_on, shortened
from eval.report.groups import curves_of_training
from eval.report.judged import Judged
from eval.report.numbers import SeedNumbers
from eval.report.settings import own_study
from eval.report.verdicts import cells
from eval.report.writing import padded, write_sections
from seal.evaluations import EVALUATIONS
from seal.measure import Measure
from seal.readings import Reading
from seal.record import RESULTS, read_json, write_json
from seal.runs import RunFolder, Runs
from tests.claims_json import absent, claim, comparison, document
from tests.invented_records import evaluation_facts, invented_run, write_record

ROOT = Path(__file__).parents[1]
MINI = ROOT / "expected/mini"
BLOCKS = [f"Block{layer}.{block}" for layer in (1, 2, 3, 4) for block in (1, 2)]
ARMS = ("normal", "normal_long", "llf", "seal")


IMAGES = 100  # an evaluation's


def share(right: float) -> NDArray[np.int64]:
    """0 or 1 an image, of which this share is 1."""
    return (np.arange(IMAGES) < round(IMAGES * right)).astype(int)


def evaluation(
    folder: Path, name: str, generation: int, values: dict[str, Any], arrays: dict[str, NDArray[Any]] | None = None
) -> None:
    path = folder / f"eval/{name}/gen-{generation:02d}.json"
    write_json(path, evaluation_facts(folder, name, generation) | {"values": values})
    np.savez(path.with_suffix(".npz"), **(arrays or {}))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with smoke's parameters and the invented record of its four arms, evaluated."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    for place, arm in enumerate(ARMS):
        run = invented_run(arm)
        folder = write_record(tmp_path / "results", run)
        last = run.generations.num_generations
        rules = {"paper": {"accuracy": 0.5 + place / 10}, "validation": {"accuracy": 0.4 + place / 10}}
        right = {"correct_paper": share(0.5 + place / 10), "correct_validation": share(0.4 + place / 10)}
        evaluation(folder, "transfer-digits", last, rules, right)
        shots = {"1": {"accuracy": 0.3 + place / 10, "interval": 0.01}, "5": {"skipped": "too few images"}}
        evaluation(folder, "fewshot-digits", last, {"shots": shots}, {"accuracy_1": np.full(9, 0.3 + place / 10)})
        name, reason = "fewshot_affines-digits", {"status": "SKIPPED-DATA", "reason": "absent"}
        write_json(folder / f"eval/{name}/skipped.json", evaluation_facts(folder, name, last) | reason)
        depth = {
            "blocks": BLOCKS,
            "knn_accuracy": [0.1 * place + 0.05 * b for b in range(8)],
            "mean_depth": 3.0 + place,
        }
        votes = np.stack([1 - share(accuracy) for accuracy in depth["knn_accuracy"]], axis=1)
        arrays = {"votes": votes, "labels": np.zeros(IMAGES, int), "depth": np.full(IMAGES, 3 + place)}
        evaluation(folder, "prediction_depth", last, depth, arrays)
        hessian = {"max_eigenvalue": 100.0 + place, "negative_fraction": 0.01 * place, "batches": 2}
        evaluation(folder, "hessian", last, {"lanczos": hessian})
    files = {
        f"{arm}-{seed}/summary.json": {"stage": f"train@{arm}-{seed}", "sha256": str(seed) * 64}
        for arm in ("llf", "seal")
        for seed in (0, 1)
    }
    failed = {"name": "R2", "passed": False, "failures": ["seal-0: 9 times chance", "seal-1: 8 times chance"]}
    claims = [
        claim(
            "seal_over_llf", "NOT-COMPARABLE", comparison(), comparison(mean=2.0), says="SEAL is above LLF.",
            primary=True, reason="R2: seal-0: 9 times chance, and 1 more", conditions=[failed], files=list(files),
        ),
        claim(
            "dogs.5", "SKIPPED-DATA", absent("seal", "llf", "no archive", "SKIPPED-DATA"), says="Dogs.",
            reason="no archive", contradiction="The paper has it lower.",
        ),
    ]  # fmt: skip
    untestable = [{"says": "It is flatter.", "place": "section 5", "why": "no measure"}]
    write_json(tmp_path / "claims/claims.json", document(claims, files=files, untestable=untestable))
    return tmp_path


def lines_of(path: Path) -> list[str]:
    """A Markdown file's, a table's cells without the blanks that align them."""
    return [re.sub(r" +", " ", line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_tables_hold_the_records_numbers_and_the_papers_beside_them(project: Path) -> None:
    main([])
    assert (project / "timings/report.csv").exists()
    lines = lines_of(project / "report/report.md")
    text = " ".join(" ".join(lines).split())
    assert "≠ NOT-COMPARABLE `seal_over_llf`: SEAL is above LLF. * **+1.25 [-1.00, +3.50] points**, seeds: 1." in text
    assert "SEAL ends 1.25 points above, 61.25% against 60.00% (95% interval -1.00 to +3.50 over test images" in text
    assert "R2 fails (seal-0: 9 times chance, and 1 more): this ascent forgot less" in text
    assert "| R2 | the ascent ends at chance |" in lines
    assert "| Dogs. | Table 2 | The paper has it lower. |" in lines, "though nothing was measured"
    assert f"| seal_over_llf | train@{{llf,seal}}-{{0,1}} | {rests_on_digest(project)} |" in lines
    assert "| SEAL | highest test accuracy | 80.00 |" in lines
    assert "| LLF | rate by validation | 60.00 |" in lines
    assert "| SEAL | Linear | 60.00 ± 1.00 | SKIPPED-DATA |" in lines
    assert "| SEAL | lanczos | 103.00 (847.89) | 3.00 (0.00) | 2 |" in lines
    assert "| SEAL | 2 | 6.00 | 45.00 | 65.00 |" in lines
    assert "45.0% (SEAL); at" in text, "the caption says who is highest at the second block"

    page = (project / "report/report.html").read_text(encoding="utf-8")
    for caption in re.findall(r"\*\*(T.+)\*\*", "\n".join(lines)):
        assert caption in unescape(page), "both have the same tables"


def rests_on_digest(project: Path) -> str:
    document = read_json(project / "claims/claims.json")
    (digest,) = {rests_on(claim, document["files"])[1] for claim in document["claims"] if claim["files"]}
    return digest


def test_stages_are_named_in_braces_without_one_too_many() -> None:
    stages = ["base@1", "train@llf-0", "train@seal-1", "base@0", "train@seal-0", "transfer@llf-0-digits"]
    assert shortened(stages) == "base@{0,1} train@llf-0 train@seal-{0,1} transfer@llf-0-digits"


def test_swapped_records_swap_the_tables(project: Path) -> None:
    def column(first: str) -> list[str]:
        runs = Runs.read([RESULTS], dict.fromkeys(f"{arm}-0" for arm in ARMS))
        return table_2(runs, [first], lambda arm, generation: None).rows[0][1:]

    before = column("seal"), column("llf")
    for old, new in (("seal", "was"), ("llf", "seal"), ("was", "llf")):
        (project / f"results/{old}-0").rename(project / f"results/{new}-0")
        path = project / f"results/{new}-0/summary.json"
        write_json(path, read_json(path) | {"arm": new})
        for file in path.parent.glob("eval/*/*.json"):
            write_json(file, read_json(file) | {"arm": new})
    assert (column("llf"), column("seal")) == before
    assert before[0] != before[1]


def test_an_arm_with_a_changed_parameter_stands_in_the_sensitivity_table_alone(project: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["arms"]["seal_s3"] = params["arms"]["seal"] | {"ascent_lr_scale": 0.3}
    Path("params.yaml").write_text(yaml.safe_dump(params | {"sensitivity_arms": ["seal_s3"], "sensitivity_seeds": [0]}))
    shutil.copytree("results/seal-0", "results/seal_s3-0")
    path = Path("results/seal_s3-0/summary.json")
    shutil.rmtree(path.parent / "eval")
    summary = read_json(path) | {"arm": "seal_s3"}
    accuracy = summary["final"]["test_accuracy"]
    with np.load(path.parent / "predictions/gen-02.npz") as arrays:
        right = arrays["correct"]
    right[right.nonzero()[0][: len(right) // 20]] = 0
    np.savez(path.parent / "predictions/gen-02.npz", correct=right)
    summary["final"]["test_accuracy"] = summary["outcomes"][-1]["test_accuracy"] = float(right.mean())
    write_json(path, summary)
    main([])
    lines = lines_of(project / "report/report.md")
    assert f"| seal_s3 | ascent_lr_scale = 0.3 | {100 * accuracy - 5:.2f} | -5.00 | 0 |" in lines
    table = lines[lines.index("**Table 2: test accuracy, %**") :]
    assert not [line for line in table[: table.index("", 2)] if "seal_s3" in line]

    first, diverged = summary["outcomes"][0], {"generation": 2, "epoch": 0, "batch": 1}
    write_json(path, summary | {"outcomes": [first], "final": first, "diverged": diverged})
    main([])
    assert "| seal_s3 | ascent_lr_scale = 0.3 | 1 diverged | – | 0 |" in lines_of(project / "report/report.md")


def test_a_run_that_diverged_is_not_drawn_as_an_arms_end(project: Path) -> None:
    """Its evaluation of generation 1 stands in its folder, and its last epoch is the one that was cut off."""
    for seed in (1, 2):
        diverged = {"generation": 2, "epoch": 0, "batch": 1}
        folder = write_record(RESULTS, invented_run("seal", seed), diverged=diverged)
        evaluation(folder, "prediction_depth", 1, {"blocks": BLOCKS, "knn_accuracy": [0.9] * 8, "mean_depth": 1.0}, {})

    study = own_study()
    runs = Runs(RunFolder.read(RESULTS / f"seal-{seed}") for seed in (0, 1, 2))
    assert [*probe_curves(runs, ["seal"], BLOCKS)["seal"]] == [2]
    assert probe_curves(runs.of_seeds([1, 2]), ["seal"], BLOCKS) == {}

    def caption(*seeds: int) -> str:
        (figure,) = curves_of_training(Judged(replace(study, runs=runs.of_seeds(seeds)), document([])))
        return figure.caption

    assert caption(0, 1, 2) == caption(0)
    assert "ends at" in caption(0)
    assert "ends at" not in caption(1, 2)


def test_several_seeds_show_their_spread_and_an_arm_without_a_record_is_left_out(project: Path) -> None:
    params = (project / "params.yaml").read_text(encoding="utf-8").replace("seeds: [0]", "seeds: [0, 1]", 1)
    (project / "params.yaml").write_text(params)
    write_record(project / "results", invented_run("seal", seed=1))
    (project / "results/llf-0/summary.json").unlink()
    main([])
    lines = lines_of(project / "report/report.md")
    (header,) = [line.split("|") for line in lines if line.startswith("| method | generation 1 |")]
    row = next(line for line in lines if line.startswith("| SEAL |")).split("|")
    assert "±" in row[header.index(" generation 2 ")], "SEAL has two seeds"
    assert (header[-2], row[-2]) == (" the paper's generation 10 ", " (59.22) "), "where it trained on"
    assert not [line for line in lines if line.startswith("| LLF |")]


def test_a_record_older_and_newer_than_its_keys_is_judged_and_reported_as_before(project: Path, tmp_path: Path) -> None:
    """Each section of every summary gets a key that no version knows, and loses one that this version has."""
    record = tmp_path / "mini"
    shutil.copytree(MINI, record, ignore=shutil.ignore_patterns("report", "claims.json"))
    for path in record.glob("*/summary.json"):
        summary = read_json(path)
        for section, lost in {"model": "stem", "training": "warmup_epochs", "generations": "reset_momentum"}.items():
            summary[section]["of_another_version"] = [1]
            summary[section].pop(lost, None)
        write_json(path, summary | {"of_another_version": {}})

    judge(["--record", "mini", "--out", "claims.json"])
    main(["--record", "mini", "--claims", "claims.json", "--out", "report"])

    before, after = read_json(MINI / "claims.json")["claims"], read_json(Path("claims.json"))["claims"]
    assert after == before
    main(["--record", str(MINI), "--claims", str(MINI / "claims.json"), "--out", "as-committed"])
    told = {}
    for name in ("as-committed", "report"):
        told[name] = {line for line in lines_of(project / name / "report.md") if "@" not in line}  # hashes differ
    assert told["report"] - told["as-committed"] == {
        "| training.warmup_epochs | 0 | 20 | not recorded |",
        "| generations.reset_momentum | True | True | not recorded |",
    }


def test_a_new_evaluation_is_shown_without_an_edit_of_the_report(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = {
        "robust": Measure("kinds.accuracy", "under corruption, {target}, %", "points", 100, 1, shown=True),
        "by_block": Measure("at.{block}", "at {block}", digits=3, shown=True),
        "hidden": Measure("kinds.accuracy", "nobody sees this"),
    }
    new = replace(EVALUATIONS["transfer"], measures=measures)
    monkeypatch.setitem(EVALUATIONS, "corruption", new)
    monkeypatch.setattr("eval.report.unrun.paper_price", lambda: "")  # no parameters have such a section
    monkeypatch.setattr("eval.report.unrun.asked_stages", lambda params: {})
    for place, arm in enumerate(ARMS):
        blocks = ["Block1.1", "Block1.2", "Block2.1", "Block2.2", "Block3.1"]
        values = {"kinds": {"accuracy": 0.2 + place / 10}, "blocks": blocks, "at": [1, 7, 8, 2 + place, 3]}
        evaluation(project / f"results/{arm}-0", "corruption-digits", 2 if place else 1, values)
    main(["--record", "results", "--claims", "claims/claims.json"])
    text = "\n".join(lines_of(project / "report/report.md"))
    assert "| under corruption, digits, % | 20.0 | 30.0 | 40.0 | 50.0 |" in text
    assert "| at the second block | 2.000 | 3.000 | 4.000 | 5.000 |" in text
    assert "| at the last block | 3.000 | 3.000 | 3.000 | 3.000 |" in text
    assert "nobody sees this" not in text


def test_a_number_that_an_evaluation_did_not_write_yet_is_not_missed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measure that is added to an evaluation, over blocks or shots or alone, leaves older records readable."""
    newer = {
        "sharpness": Measure("sharpness.mean", "sharpness", shown=True),
        "by_block": Measure("ranks.{block}", "rank at {block}", shown=True),
        "by_shot": Measure("tries.{shot}.count", "tries of {shot}", shown=True),
    }
    new = replace(EVALUATIONS["hessian"], measures={**EVALUATIONS["hessian"].measures, **newer})
    monkeypatch.setitem(EVALUATIONS, "hessian", new)
    main([])
    text = "\n".join(lines_of(project / "report/report.md"))
    assert "| largest Hessian eigenvalue | 100 | 101 | 102 | 103 |" in text
    assert "sharpness" not in text


def test_shares_of_which_none_was_seen_have_the_limit_of_all_seeds_together() -> None:
    def limit(batches: int) -> float:
        return 1 - 0.05 ** (1 / batches)

    assert limit_of_all([limit(40), limit(40), limit(7)]) == pytest.approx(limit(87), rel=1e-12)
    assert limit_of_all([limit(40), 1.0]) == pytest.approx(limit(40), rel=1e-12)
    assert limit_of_all([1.0, 1.0]) == 1.0
    seeds = [Reading(value, None, (), limit=limit(40)) for value in (0.0, 0.0)]
    assert below_limit(SeedNumbers(seeds, [], scale=100)) == f"0, below {100 * limit(80):.1f}"
    seen = [*seeds, Reading(0.1, None, (), limit=limit(40))]
    assert below_limit(SeedNumbers(seen, [], scale=100)) is None
    assert below_limit(SeedNumbers([Reading(0.0, None, ())], [], scale=100)) is None


def test_without_any_record_or_verdicts_it_says_what_to_do(project: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(
        SystemExit, match=r"empty: found no run that holds together, .*`seal claims --record empty` says"
    ):
        main(["--record", "empty"])
    with pytest.raises(SystemExit, match=r"claims/claims\.json: no verdicts on mini; `seal report --record` judges"):
        main(["--record", str(MINI)])
    shutil.rmtree("results")
    with pytest.raises(SystemExit, match="results: no run of the smoke tier's parameters; `make repro` trains them"):
        main([])


def test_what_a_cell_holds_cannot_break_the_page(tmp_path: Path) -> None:
    table = Table("A <b>caption</b>", ["one | two"], [["<script>x</script>"]])
    write_sections(tmp_path / "page.html", "T", [], [Section("S", "s", parts=[table])])
    assert "<script>" not in (tmp_path / "page.html").read_text()
    assert "one \\| two" in padded(table.columns, table.rows)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (["fewshot eurosat 1-shot", "fewshot eurosat 5-shot", "fewshot_affines isic 5-shot"], "3 cells: eurosat, isic"),
        (["digits"], "1 cell: digits, stand-ins"),
        (BLOCKS, "8 cells: Block1.1 to Block4.2"),
    ],
)
def test_a_family_says_what_its_mean_is_over(found: list[str], words: str) -> None:
    paper = [] if found == BLOCKS else ["eurosat", "crop_disease"]
    claim = {"test": "family", "comparisons": [{}, {"mean": 1.0, "cells": found}], "where": {"paper_targets": paper}}
    assert cells(claim) == f" ({words})"
    assert cells(claim | {"test": "order"}) == ""
