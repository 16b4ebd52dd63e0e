"""The sentences, the matrix and the folds of a report: made of the verdicts, and each verdict in its place once."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from eval.claims.claim_list import load_claims
from eval.claims.show import shown, words_as_first_stated
from eval.report.findings import FAILING_MEANS, beside, no_overfitting, told
from eval.report.groups import group
from eval.report.judged import Judged, areas
from eval.report.marks import SIGNS, leading
from eval.report.matrix import matrix
from eval.report.page import conditions, lead
from eval.report.settings import recorded_study
from eval.report.verdicts import row
from seal.errors import UserError
from seal.record import read_json
from seal.tiers import tier_text
from tests.claims_json import absent, claim, comparison, document

pytestmark = pytest.mark.xdist_group("report page")  # one report for all who look at it

ROOT = Path(__file__).parents[1]
RECORDS = {tier: ROOT / f"expected/{tier}" for tier in ("smoke", "mini")}
VERDICTS = {tier: read_json(folder / "claims.json") for tier, folder in RECORDS.items()}
ROW = re.compile(
    r'<tr id="([^"]+)"><td><span class="verdict [a-z-]+"><span aria-hidden="true">.</span> +([A-Z-]+)</span>'
)


def test_each_verdict_of_each_record_stands_in_the_page_exactly_once(written: Path) -> None:
    rows = ROW.findall((written / "report.html").read_text(encoding="utf-8"))
    expected = []
    for tier, judged in VERDICTS.items():
        expected += [(f"{tier}-{entry['id']}", entry["verdict"]) for entry in judged["claims"]]
    assert sorted(map(tuple, rows)) == sorted(expected)
    assert len(expected) == 2 * len(load_claims().claims)

    lines = (written / "report.md").read_text(encoding="utf-8").splitlines()
    marked = re.compile(rf"- [{''.join(SIGNS.values())}] ([A-Z-]+) `(.+?)`:")
    found = [match.groups() for line in lines if (match := marked.match(line))]
    assert sorted(found) == sorted((verdict, anchor.partition("-")[2]) for anchor, verdict in expected)


def test_the_first_screen_in_a_terminal_has_at_most_forty_lines(written: Path) -> None:
    lines = (written / "findings.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    assert sum(line.startswith("- **SEAL against") for line in lines) == 3
    assert [line[2:4] for line in lines if line.startswith("| C")] == [*areas()]


def test_the_leading_records_sentences_come_first_and_the_others_are_folded(written: Path) -> None:
    page = (written / "report.html").read_text(encoding="utf-8")
    places = ["at the tier mini", "mini-accuracy.", "The same at smoke", 'id="matrix"', 'id="C1"', 'id="relearning"']
    places += ['id="not-run"', 'id="behind"']
    assert sorted(places, key=page.index) == places, "in this order down the page"
    assert "script" not in re.sub(r"<a download[^>]*>", "", page)


@pytest.mark.parametrize(("verdict", "words"), [
    ("SUPPORTED", "it holds here"), ("REFUTED", "it does not hold here"), ("WEAK", "this may be noise; so many seeds"),
])  # fmt: skip
def test_sentence_matrix_and_group_follow_a_verdict_that_is_turned(verdict: str, words: str) -> None:
    study = recorded_study([RECORDS["mini"]])
    before = VERDICTS["mini"]
    claims = []
    for entry in before["claims"]:
        changed = {"verdict": verdict, "reason": ""} if entry["id"] == "seal_over_llf" else {}
        claims.append(entry | changed)

    judged = Judged(study, before | {"claims": claims})
    (sentence,) = (primary for primary in told(judged) if primary.subject == "SEAL against LLF")
    assert (sentence.verdict, words in sentence.text) == (verdict, True)

    in_area = [entry["verdict"] for entry in claims if entry["area"] == "C2"]
    (cell,) = next(cells for title, cells in matrix([judged]).rows if title.startswith("C2"))
    assert (cell.verdict, cell.count) == (leading(in_area), in_area.count(leading(in_area)))
    counts = {cell.verdict: cell.count} | dict(cell.others)
    assert counts[verdict] == in_area.count(verdict)

    fold = group(judged, "C2")
    assert fold.anchor == cell.anchor == "mini-C2"
    assert f"{in_area.count(verdict)} {verdict}" in fold.text[0]
    assert fold.chips == [("mini", leading(in_area))]


@pytest.mark.parametrize(
    ("paper", "contradiction", "words"),
    [
        ({"differences": [[2.13], [4.96]]}, None, "Table 2; in the paper +4.96"),
        ({"differences": [[2.13], [-0.4]]}, "LLF is above.", "Table 2; in the paper -0.40: LLF is above"),
        (
            {"differences": [[2.3], [7.65]], "after_as_many": [[2.13], [4.96]]}, None,
            "Table 2; in the paper +4.96 after as many generations, +7.65 at its end",
        ),
        ({"differences": [[2.3, 0.1], [7.65, 4.0]]}, None, "Table 2"),  # a family's, one a cell
        ({"differences": [[2.3]]}, None, "Table 2"),  # of one of two comparisons, it does not say which
        ({"differences": []}, "It has 0% as well.", "Table 2; in the paper: It has 0% as well"),
    ],
)  # fmt: skip
def test_a_row_has_the_papers_difference_in_the_comparison_that_decides(
    paper: dict[str, Any], contradiction: str | None, words: str
) -> None:
    comparisons = (comparison(mean=2.0), comparison("llf", "normal_long", mean=-1.0, verdict="REFUTED"))
    changes = {"paper": paper | {"agrees": None}, "contradiction": contradiction}
    judged = judged_of(claim("c", "REFUTED", *comparisons, **changes))
    assert row(judged, judged.claims[0]).small == words


def test_of_what_is_refuted_it_is_said_how_much_the_papers_own_tables_refute() -> None:
    claims = [
        claim("a", "REFUTED", comparison(), contradiction="LLF is above."),
        claim("b", "REFUTED", comparison()),
        claim("c", "WEAK", comparison(), contradiction="LLF is above."),
    ]
    judged, words = judged_of(*claims), "1 of the 2 REFUTED the paper's own tables refute too."
    assert group(judged, "C2").text[0].endswith(f". {words}")
    assert matrix([judged]).legend.endswith(f" C2, smoke: {words}")

    without = judged_of(*claims[1:])
    assert "own tables" not in group(without, "C2").text[0] + matrix([without]).legend


def judged_of(*claims: dict[str, Any]) -> Judged:
    return Judged(recorded_study([RECORDS["smoke"]]), document(claims))


def tell(*claims: dict[str, Any]) -> list[str]:
    return [primary.text for primary in told(judged_of(*claims))]


def test_a_sentence_has_difference_interval_seeds_and_the_papers_number() -> None:
    evidence = comparison(mean=-2.5, means=[55.0, 57.5], interval=[-4.0, -1.0], seeds=[0, 1, 2], level=0.05 / 3)
    paper = {"differences": [[2.3]], "agrees": True}
    assert tell(claim("seal_over_llf", "REFUTED", evidence, primary=True, paper=paper)) == [
        "SEAL ends 2.50 points below, 55.00% against 57.50% (98.3% interval -4.00 to -1.00; 3 seeds; in the paper 2.30 "
        "above). The whole interval is on the other side: it does not hold here."
    ]


def test_every_condition_has_words_for_what_its_failing_means_and_each_that_fails_is_told() -> None:
    assert {*FAILING_MEANS} == {*VERDICTS["mini"]["conditions"]}
    checks = [
        {"name": "R1", "passed": False, "failures": ["llf-0: 90.00% in generation 1"]},
        {"name": "R2", "passed": True, "failures": []},
        {"name": "R3", "passed": False, "failures": ["llf-0: 2 points", "llf-1: 3 points"]},
    ]
    reason = "R1: llf-0: 90.00% in generation 1, and 2 more"
    (text,) = tell(claim("c", "NOT-COMPARABLE", comparison(), primary=True, reason=reason, conditions=checks))
    assert f"R1 fails (llf-0: 90.00% in generation 1): {FAILING_MEANS['R1']}." in text
    assert f"R3 fails (llf-0: 2 points, and 1 more): {FAILING_MEANS['R3']}." in text
    assert "R2" not in text


def test_where_longer_training_does_not_overfit_the_page_begins_with_it() -> None:
    def sentences(passed: bool, tier: str = "mini") -> list[str]:
        better = ["normal_long-1: +0.99 points over Normal", "normal_long-2: +1.2 points over Normal"]
        failures = [] if passed else ["normal_long-0: not checked: no run", *better]
        check = {"name": "R4", "passed": passed, "failures": failures}
        looked_at = comparison(seeds=[0, 1, 2])
        claims = [claim(identity, "WEAK", looked_at, conditions=[check]) for identity in ("a", "b")]
        return lead(Judged(recorded_study([RECORDS[tier]]), document(claims, tier=tier)))[1:]

    assert sentences(passed=True) == []
    assert sentences(passed=False) == [
        "Unlike in the paper, Normal (long) is better than Normal in 2 of 3 seeds: normal_long-1: +0.99 points over "
        "Normal, and 1 more."
    ]
    assert len(sentences(passed=False, tier="smoke")) == 1, "it says nothing about the paper anyway"


def test_of_two_arms_that_stand_for_normal_long_the_seeds_are_counted_once() -> None:
    """Without validation images both are looked at."""
    failures = [f"{arm}-{seed}: +0.5 points" for seed in range(3) for arm in ("normal_long", "normal_long_cosine")]
    judged = judged_of(
        claim(
            "a",
            "WEAK",
            comparison(seeds=[0, 1, 2]),
            conditions=[{"name": "R4", "passed": False, "failures": failures}],
        )
    )
    (sentence,) = no_overfitting(judged)
    assert "in 3 of 3 seeds: normal_long-0: +0.5 points, and 5 more." in sentence


@pytest.mark.parametrize(
    ("paper", "words"),
    [
        ({"differences": [[2.3]]}, "; in the paper 2.30 above)"),
        (
            {"differences": [[-2.3]], "after_as_many": [[1.2]]},
            "in the paper 1.20 above after as many generations, 2.30 below at its end)",
        ),
        ({"differences": []}, "1 seed)"),
    ],
)
def test_the_papers_difference_is_told_of_its_end_and_of_as_many_generations(paper: dict[str, Any], words: str) -> None:
    (text,) = tell(claim("c", "WEAK", comparison(), primary=True, paper=paper | {"agrees": True}))
    assert words in text


def test_a_condition_that_was_restated_stands_there_as_it_was_first_stated_too() -> None:
    restated = {"R1": {"says": "learnt"}, "R3": {"says": "within 10%", "first_stated": "within 5%"}}
    assert conditions({"conditions": restated}).rows == [
        ["R1", "learnt"], ["R3", "within 10%"], ["R3 as first stated", "within 5%"],
    ]  # fmt: skip


def test_the_page_says_by_which_decay_a_sweeps_record_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever params.yaml is: here it is of the same tier, by a third decay."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    text = tier_text("mini", folder=ROOT / "params")
    (tmp_path / "params.yaml").write_text(re.sub(r"(?m)^  weight_decay: \S+", "  weight_decay: 0.004", text))
    monkeypatch.chdir(tmp_path)
    study = recorded_study([RECORDS["mini"]])
    assert study.params.training.weight_decay == 0.004
    (text, *_) = lead(Judged(study, document([], tier="mini")))
    assert "at the tier mini: tiny_imagenet" in text

    values = {**study.values, "training": {**study.values["training"], "weight_decay": 0.002}}
    (text, *_) = lead(Judged(replace(study, values=values), document([], tier="mini")))
    assert "at the tier mini, with weight decay 0.002 instead of 0.0005: tiny_imagenet" in text


def test_the_page_says_how_fast_seal_climbs_beside_the_papers_rate() -> None:
    (mini, *_), (smoke, *_) = (
        lead(Judged(recorded_study([RECORDS[tier]]), document([], tier=tier))) for tier in ("mini", "smoke")
    )
    assert "80 epochs, ascent at 0.3 of the learning rate (the paper's: 0.01), seeds 0, 1, 2." in mini
    assert "ascent at 0.01 of the learning rate (the paper's: 0.01)" in smoke


def test_a_difference_to_a_bound_shows_both() -> None:
    evidence = comparison(other=None, mean=-0.5, means=[2.5, 2.0], item_interval=None)
    below = claim("c", "INCONCLUSIVE", evidence, test="threshold", unit="times chance")
    assert row(judged_of(below), below).difference == "-0.50 times chance (2.5 against a bound of 2)"
    without_unit = claim("d", "INCONCLUSIVE", evidence, test="threshold", unit="")
    assert row(judged_of(without_unit), without_unit).difference == "-0.50 (2.5 against a bound of 2)"


def test_a_claim_that_was_not_run_and_one_judged_otherwise_as_first_stated_say_so() -> None:
    missing = claim("a", "NOT-RUN", absent("seal", "seal_s0", "no run"), primary=True, reason="no run of seal_s0")
    failing = [{"name": "R2", "passed": False, "failures": ["seal-0: 3.00 times chance"]}]
    first_stated = {"verdict": "NOT-COMPARABLE", "conditions": failing}
    restated = claim("b", "WEAK", comparison(), primary=True, as_first_stated=first_stated)
    first, second = tell(missing, restated)
    assert first == "Nothing is known: no run of seal_s0."
    assert second.endswith("By the conditions as first stated, met by 0 of 1 seeds: NOT-COMPARABLE.")


def test_one_verdict_by_both_conditions_has_the_seeds_that_meet_the_first() -> None:
    failures = ["seal-0: +6.0%", "llf-1: +5.1%", "seal_s0-1: +7.0%"]
    first = {"verdict": "NOT-COMPARABLE", "conditions": [{"name": "R3", "passed": False, "failures": failures}]}
    judged = {"comparisons": [comparison(seeds=[0, 1, 2]), absent("seal", "llf", "no run")]}
    words = words_as_first_stated(judged | {"as_first_stated": first})
    assert words == "by the conditions as first stated, met by 1 of 3 seeds: NOT-COMPARABLE"
    assert words_as_first_stated(judged) == ""


def test_of_several_comparisons_the_worst_verdict_decides_and_then_the_smallest_difference() -> None:
    noisy = comparison(other="normal", mean=-5.0, means=[55.0, 60.0], interval=[-13.0, 3.0], verdict="INCONCLUSIVE")
    firm = comparison(other="llf", mean=-3.0, means=[55.0, 58.0], interval=[-4.0, -2.0], verdict="REFUTED")
    chain = claim("c", "REFUTED", noisy, firm, primary=True)
    assert tell(chain)[0].startswith("SEAL ends 3.00 points below, 55.00% against 58.00%")
    assert row(judged_of(chain), chain).difference == "-3.00 [-4.00, -2.00] points"


def test_a_verdict_by_the_other_normal_long_is_told_in_its_row_and_of_a_primary_claim_in_its_sentence() -> None:
    other = comparison(other="normal_long_cosine", mean=-2.5, means=[57.5, 60.0], interval=[-4.0, -1.0])
    again = {"verdict": "REFUTED", "reason": "", "conditions": [], "comparisons": [other]}
    judged = claim("c", "WEAK", comparison(other="normal_long"), primary=True, other_normal_long=again)
    told_in_row = row(judged_of(judged), judged).small
    words = "SEAL against Normal (long), one cosine, -2.50 [-4.00, -1.00] points, 1 seed, REFUTED"
    assert told_in_row.endswith(f"; with the other Normal (long), {words}")
    assert tell(judged)[0].endswith(
        "With the other Normal (long), SEAL against Normal (long), one cosine: SEAL ends 2.50 points below, 57.50% "
        "against 60.00% (95% interval -4.00 to -1.00; 1 seed): REFUTED."
    )


@pytest.mark.parametrize(
    ("other", "reason", "words"),
    [
        ("llf", "R1: seal-0: 98.00%", "By each method's own best numbers: SEAL ends"),
        (
            "llf_best",
            "R1: seal-0: 97.00%",
            "By each method's own best numbers, SEAL against LLF at its best: SEAL ends",
        ),
    ],
)
def test_sides_and_a_reason_that_are_the_claims_own_are_told_once(other: str, reason: str, words: str) -> None:
    again = {"verdict": "NOT-COMPARABLE", "reason": reason, "conditions": [], "comparisons": [comparison(other=other)]}
    judged = claim("c", "NOT-COMPARABLE", comparison(), reason="R1: seal-0: 98.00%", own_best=again)
    said = beside(judged, "own_best")
    assert said.startswith(words)
    assert said.endswith(": NOT-COMPARABLE." if other == "llf" else f": NOT-COMPARABLE, {reason}.")


def test_what_a_comparison_leaves_out_is_told() -> None:
    left_out = "without seed 2, which lacks some of it"
    evidence = claim("c", "WEAK", comparison(notes=[left_out]), primary=True)
    assert row(judged_of(evidence), evidence).small == f"Table 2; {left_out}"
    told = shown(document([evidence]) | {"tier": "mini"}, "c")
    assert f"seeds 0; over test items alone: these two checkpoints differ, or do not; {left_out}: WEAK" in told


def test_a_claim_in_full_has_its_levels_and_what_stands_beside_its_verdict() -> None:
    again = {"verdict": "SUPPORTED", "reason": "", "conditions": [], "comparisons": [comparison(mean=2.5)]}
    evidence = comparison(interval=[-1.0, 4.0], item_interval=None, level=0.05 / 3)
    first_stated = {"verdict": "WEAK", "conditions": []}
    judged = claim("c", "NOT-COMPARABLE", evidence, as_first_stated=first_stated, where_held=again, own_best=again)
    lines = shown(document([judged]) | {"tier": "regime"}, "c").splitlines()
    assert "  by the conditions as first stated, met by 1 of 1 seeds: WEAK" in lines
    assert "difference +1.25 [-1.00, +4.00] at 98.3% points" in "".join(lines)
    for words in ("over the seeds alone whose conditions all hold", "by each method's own best numbers"):
        place = lines.index(f"  {words}: SUPPORTED")
        assert "difference +2.50 [-1.00, +3.50] at 95% points" in lines[place + 1]


def test_sides_that_differ_in_their_measure_alone_are_named_by_it() -> None:
    gains = [entry for entry in VERDICTS["mini"]["claims"] if entry["group"] == "affines_gain"]
    for entry in gains:
        for compared in entry["comparisons"]:
            assert compared["term"] != compared["other"], entry["id"]


@pytest.mark.parametrize("tier", RECORDS)
def test_the_anchor_that_a_claim_is_shown_with_is_in_the_page(written: Path, tier: str) -> None:
    page = unescape((written / "report.html").read_text(encoding="utf-8"))
    for entry in VERDICTS[tier]["claims"]:
        text = shown(VERDICTS[tier], entry["id"])
        assert text.startswith(f"{entry['id']}: {entry['verdict']} at {tier}")
        assert f'id="{text.rpartition("#")[2]}"' in page


def test_a_claim_that_there_is_not_is_named_with_those_like_it() -> None:
    with pytest.raises(UserError, match="found no claim seal_over_lf, expected seal_over_llf"):
        shown(VERDICTS["mini"], "seal_over_lf")
