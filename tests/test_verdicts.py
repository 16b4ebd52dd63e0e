"""The rule from evidence to verdict, against t tables, scipy's t test, simulation, and Holm's definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eval.claims.rule import (
    JUDGED,
    LEVEL,
    Sample,
    Verdict,
    detectable_difference,
    half_width,
    holm_levels,
    item_error,
    judge,
    noncentrality,
    p_value,
    worst,
    z_quantile,
)
from seal.record import ROUNDING

pytestmark = pytest.mark.numerical

DIFFERENCES = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=1, max_size=8).map(tuple)
ERRORS = st.floats(0, 5)
MIRRORED = {Verdict.SUPPORTED: Verdict.REFUTED, Verdict.REFUTED: Verdict.SUPPORTED, Verdict.WEAK: Verdict.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("differences", "error", "verdict"),
    [
        ((2.0, 2.1, 1.9), 0.0, Verdict.SUPPORTED),
        ((-2.0, -2.1, -1.9), 0.0, Verdict.REFUTED),
        ((2.0, 2.1, 1.9), 2.0, Verdict.WEAK),  # the test items leave it open
        ((-2.0, -2.1, -1.9), 2.0, Verdict.INCONCLUSIVE),
        ((1.0, 2.0, 3.0), 0.0, Verdict.WEAK),  # 2 +- 4.303 / sqrt(3)
        ((-1.0, -2.0, -3.0), 0.0, Verdict.INCONCLUSIVE),
        ((1.0, -1.0, 0.0), 0.0, Verdict.INCONCLUSIVE),
        ((0.0, 0.0, 0.0), 0.0, Verdict.INCONCLUSIVE),  # ties
        ((0.0, 0.0, 0.0), 1.0, Verdict.INCONCLUSIVE),
        ((0.5, 0.5, 0.5), 0.0, Verdict.SUPPORTED),
        ((2.0, 2.0), 0.0, Verdict.WEAK),
        ((-2.0, -2.0), 0.0, Verdict.INCONCLUSIVE),
        ((2.0,), 0.0, Verdict.WEAK),
        ((-2.0,), 0.1, Verdict.INCONCLUSIVE),
        ((0.0,), 0.0, Verdict.INCONCLUSIVE),
    ],
)
def test_known_evidence_gives_its_verdict(differences: tuple[float, ...], error: float, verdict: Verdict) -> None:
    assert judge(Sample(differences, error)).verdict == verdict


ULPS = st.lists(st.integers(-40, 40), min_size=3, max_size=5)


@given(ulps=ULPS, mean=st.sampled_from([0.0, 0.5, -0.5, 40.0]), error=st.sampled_from([0.0, 3e-15]))
def test_a_verdict_does_not_rest_on_the_order_of_a_sum(ulps: list[int], mean: float, error: float) -> None:
    """Differences of accuracies in points are rounded at some 1e-14, one way or the other by processor."""
    exact, rounded = Sample((mean,) * len(ulps)), Sample(tuple(mean + each * 1e-14 for each in ulps), error)
    assert judge(rounded).verdict == judge(exact).verdict
    assert p_value(rounded) == p_value(exact)


def test_one_seed_without_spread_over_items_has_no_interval() -> None:
    assert judge(Sample((0.5,), 1e-17)).item_interval is None
    assert judge(Sample((0.5,), 0.1)).item_interval is not None


@pytest.mark.parametrize(("n", "t"), [(2, 12.706), (3, 4.303), (5, 2.776), (8, 2.365)])  # printed tables, 95%
def test_the_interval_adds_seeds_and_items_in_squares(n: int, t: float) -> None:
    differences = tuple(float(x) for x in range(n))
    deviation = math.sqrt(sum((x - (n - 1) / 2) ** 2 for x in differences) / (n - 1))
    expected = math.sqrt((t * deviation / math.sqrt(n)) ** 2 + (1.96 * 0.7) ** 2)
    assert half_width(Sample(differences, 0.7)) == pytest.approx(expected, rel=2e-4)


@given(DIFFERENCES, ERRORS)
def test_swapping_the_sides_mirrors_the_verdict(differences: tuple[float, ...], error: float) -> None:
    ours = judge(Sample(differences, error))
    theirs = judge(Sample(tuple(-x for x in differences), error))
    if ours.mean == 0:
        assert ours.verdict == theirs.verdict == Verdict.INCONCLUSIVE
    elif ours.verdict == Verdict.INCONCLUSIVE:
        assert theirs.verdict == Verdict.WEAK
    else:
        assert theirs.verdict == MIRRORED[ours.verdict]
    assert theirs.detectable == ours.detectable


@given(DIFFERENCES, ERRORS)
def test_fewer_than_three_seeds_never_decide(differences: tuple[float, ...], error: float) -> None:
    judgement = judge(Sample(differences[:2], error))
    assert judgement.verdict in (Verdict.WEAK, Verdict.INCONCLUSIVE)
    assert (judgement.interval is None) == (len(differences[:2]) == 1)
    spread_over_items = z_quantile(LEVEL) * error > ROUNDING
    assert (judgement.item_interval is not None) == (len(differences[:2]) == 1 and spread_over_items)


@given(DIFFERENCES, ERRORS)
def test_p_is_where_the_interval_begins_to_leave_the_boundary_out(differences: tuple[float, ...], error: float) -> None:
    sample = Sample(differences, error)
    p = p_value(sample)
    if p is None:
        assert sample.seeds == 1
    elif 1e-12 < p < 0.9:
        assert half_width(sample, p * 1.0001) < abs(sample.mean) < half_width(sample, p * 0.9999)


def test_without_items_p_is_the_t_test_s() -> None:
    differences = (1.0, 2.5, 3.0, -0.5)
    assert p_value(Sample(differences)) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-6)


@pytest.mark.parametrize("bad", [(math.nan, 1.0, 1.0), (math.inf,), ()])
def test_what_is_not_finite_is_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        Sample(bad)
    with pytest.raises(ValueError, match="expected finite numbers"):
        Sample((1.0,), math.nan)


@pytest.mark.parametrize("n", [3, 5, 8])
@pytest.mark.parametrize("items", [0.0, 0.5])
def test_without_a_difference_few_draws_decide(n: int, items: float) -> None:
    """Seeds differ by their own draws, and all of a study's share the draw of its test items."""
    draws = np.random.default_rng(n)
    studies = draws.normal(size=(10_000, n)) + items * draws.normal(size=(10_000, 1))
    verdicts = [judge(Sample(tuple(study), items)).verdict for study in studies.tolist()]
    assert sum(verdict in (Verdict.SUPPORTED, Verdict.REFUTED) for verdict in verdicts) <= 600


def test_without_a_difference_few_studies_of_test_images_decide() -> None:
    """As the claims see it: images right or wrong under two methods that are equally good, error from the images."""
    draws, decided = np.random.default_rng(0), 0
    for _ in range(2000):
        ease = draws.beta(2, 1, size=200)  # of each image, the same for every network
        right = draws.random((2, 3, 200)) < ease
        items = right[0].astype(float) - right[1]
        judgement = judge(Sample(tuple(items.mean(axis=1).tolist()), item_error(items)))
        decided += judgement.verdict in (Verdict.SUPPORTED, Verdict.REFUTED)
    assert decided <= 0.06 * 2000


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_detectable_difference_is_detected_in_four_of_five_studies(n: int) -> None:
    truth = noncentrality(0.05, n) / math.sqrt(n)
    studies = np.random.default_rng(1).normal(truth, 1, size=(20_000, n))
    assert np.mean(stats.ttest_1samp(studies, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.012)
    assert detectable_difference(Sample((-1.0, 0.0, 1.0))) == pytest.approx(noncentrality(0.05, 3) / math.sqrt(3))
    assert detectable_difference(Sample((0.0, 0.0, 0.0), 1.0)) == pytest.approx(1.96 + 0.8416, abs=1e-3)
    assert detectable_difference(Sample((1.0,))) is None
    assert detectable_difference(Sample((1.0, 1.5))) is None, "two seeds decide nothing, whatever they differ by"


def test_the_items_error_is_of_the_mean_over_seeds() -> None:
    items = np.array([[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]])
    assert item_error(items) == pytest.approx(stats.sem([0.0, 1.0, 0.5, 0.5]))


@pytest.mark.parametrize(
    ("p_values", "levels"),
    [
        ([0.001, 0.02, 0.04], [0.05 / 3, 0.025, 0.05]),
        ([0.04, 0.001, 0.02], [0.05, 0.05 / 3, 0.025]),
        ([0.01, 0.03, 0.04], [0.05 / 3, 0.025, 0.025]),  # the second fails, and the third with it
        ([0.02, 0.02, 0.02], [0.05 / 3] * 3),
        ([0.0, None, 0.03], [0.05 / 3, 0.025, 0.025]),
        ([None, None, 0.01], [0.025, 0.025, 0.05 / 3]),
        ([], []),
    ],
)
def test_holm_s_levels(p_values: list[float | None], levels: list[float]) -> None:
    assert holm_levels(p_values) == pytest.approx(levels)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_s_levels_decide_as_adjusted_p_values_do(p_values: list[float]) -> None:
    """Holm 1979: adjusted p of the i-th smallest is the largest of (m-j+1) p_j over j <= i."""
    m, order = len(p_values), np.argsort(p_values, kind="stable")
    adjusted = np.maximum.accumulate([(m - rank) * p_values[index] for rank, index in enumerate(order)])
    levels = holm_levels(list(p_values))
    for rank, index in enumerate(order):
        if not math.isclose(adjusted[rank], 0.05, rel_tol=1e-9):
            assert (p_values[index] < levels[index]) == (adjusted[rank] < 0.05)


@given(st.lists(st.sampled_from(JUDGED), min_size=1))
def test_a_chain_is_as_good_as_its_worst_pair(verdicts: list[Verdict]) -> None:
    assert JUDGED.index(worst(verdicts)) == min(JUDGED.index(verdict) for verdict in verdicts)
    assert worst([*verdicts, Verdict.NOT_RUN]) == Verdict.NOT_RUN
