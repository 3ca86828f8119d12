from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import association
from analysis.stats.association import (
    MOST_PERMUTED,
    paired_trend,
    permuted_sums,
    quadrants,
    quadrants_of,
    rho_interval,
    spearman,
    trend,
)
from tests.analysis.stats.external import r_value, r_vector
from tests.analysis.stats.test_bootstrap import BELOW, SKEWED

# As in reference/r_values.R: ten questions at levels 1, 2 and 4.
LEVELS = [1.0, 2.0, 4.0]
ANSWERS = np.array([int(c) for c in "001101011000111011101001011001"], dtype=float).reshape(10, 3)


def generator() -> np.random.Generator:
    return np.random.default_rng(1234)


def test_spearman_of_few_pairs_is_exact_as_in_r() -> None:
    found = spearman([3, 1, 4, 15, 9, 2, 6], [2, 7, 1, 8, 28, 18, 4], generator())
    p, rho = r_vector("spearman 7")  # external: R cor.test(exact = TRUE)
    assert (found.p, found.rho.value) == pytest.approx((p, rho))
    assert found.rule == "exact permutation"


def test_spearman_of_more_pairs_comes_near_the_exact_p_of_r() -> None:
    found = spearman(SKEWED, BELOW, generator())
    p, rho = r_vector("spearman 20")
    assert found.rho.value == pytest.approx(rho)
    assert found.p == pytest.approx(p, abs=0.004)
    assert "random" in found.rule


def test_spearman_with_ties_equals_scipy() -> None:
    x, y = [1, 1, 2, 2, 3, 3, 4, 9, 9, 9], [1, 2, 2, 2, 1, 3, 3, 4, 0, 9]
    assert spearman(x, y, generator()).rho.value == pytest.approx(stats.spearmanr(x, y).statistic)


def test_spearman_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    true = 6 / math.pi * math.asin(0.8 / 2)  # of the normal with correlation 0.8
    x = rng.normal(size=(3000, 40))
    y = 0.8 * x + 0.6 * rng.normal(size=x.shape)
    ranks = [stats.rankdata(one, axis=1) - 20.5 for one in (x, y)]
    rhos = np.sum(ranks[0] * ranks[1], axis=1) / np.sum(ranks[0] ** 2, axis=1)
    found = [rho_interval(float(rho), 40) for rho in rhos]
    held = np.mean([one.low <= true <= one.high for one in found])
    assert held == pytest.approx(0.95, abs=0.015)  # 0.91 with Fisher's own error


@pytest.mark.parametrize(("x", "y"), [([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0, 0, 0]), ([1], [2])])
def test_a_constant_has_no_correlation(x: list[float], y: list[float]) -> None:
    found = spearman(x, y, generator())
    assert not found.rho.defined
    assert math.isnan(found.p)
    assert "no correlation" in str(found.rho.reason)


def test_a_complete_correlation_has_no_interval() -> None:
    found = spearman([1, 2, 3, 4, 5], [10, 20, 30, 40, 50], generator())
    assert found.rho.value == 1.0
    assert math.isnan(found.rho.low)
    assert found.p == pytest.approx(2 / 120)


def test_pairs_must_pair() -> None:
    for x, y in (([], []), ([1, 2], [1]), ([math.nan, 1], [1, 2])):
        for estimator in (quadrants, lambda a, b: spearman(a, b, generator())):
            with pytest.raises(ValueError, match=r"at least one|pairs its|finite"):
                estimator(x, y)


def test_quadrants_count_strictly_above_the_cut() -> None:
    found = quadrants([1, 2, 3, 4], [0.1, -0.1, 0.0, 0.2])
    assert found[:4] == (1, 1, 1, 1)  # 4 up, 1 up; 3 not up (0 is not above 0), 2 not up
    assert (found.x_cut, found.y_cut) == (2.5, 0.0)
    assert quadrants([1, 2, 3], [1, 2, 3], x_cut=1.5, y_cut="median")[:4] == (1, 0, 1, 1)
    assert quadrants([1, 2, 3], [1, 1, 1])[:4] == (1, 2, 0, 0)  # the median is not above itself


def test_fishers_p_of_the_published_quadrants_equals_that_of_r() -> None:
    pairs = [(True, True)] * 17 + [(False, True)] * 11 + [(True, False)] * 9 + [(False, False)] * 4
    found = quadrants_of([x for x, _ in pairs], [y for _, y in pairs])
    assert found[:4] == (17, 11, 9, 4)
    assert found.p == pytest.approx(r_value("fisher"))  # external: R fisher.test
    assert found.odds_ratio == pytest.approx(17 * 4 / (11 * 9))


def test_odds_of_empty_quadrants_are_open_or_undefined() -> None:
    assert quadrants_of([True, False], [True, False]).odds_ratio == math.inf
    assert math.isnan(quadrants_of([True, True], [True, True]).odds_ratio)


def test_trend_of_groups_equals_that_of_r() -> None:
    found = trend([1, 2, 3, 6], [10, 20, 30, 31], [40, 41, 40, 39])
    assert found.p == pytest.approx(r_value("trend"))  # external: R prop.trend.test
    x, n = np.array([1, 2, 3, 6]), np.array([40, 41, 40, 39])
    line = np.polyfit(x, np.array([10, 20, 30, 31]) / n, 1, w=np.sqrt(n))
    assert found.slope.value == pytest.approx(line[0])
    assert found.slope.low > 0.0


def test_a_trend_that_cannot_be_is_undefined() -> None:
    for k, x in (([4, 4], [1, 2]), ([0, 0], [1, 2]), ([1, 2], [3, 3])):
        found = trend(x, k, [4, 4])
        assert not found.slope.defined
        assert math.isnan(found.p)
    for x, k, n in (([1], [1], [2]), ([1, 2], [3, 1], [2, 2]), ([1, 2], [0, 0], [0, 0])):
        with pytest.raises(ValueError, match=r"two levels|0\.\.n"):
            trend(x, k, n)


def test_paired_trend_equals_the_stratified_test_of_r(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = paired_trend(LEVELS, ANSWERS, generator())
    monkeypatch.setattr(association, "MOST_LEVELS", 2)
    found = paired_trend(LEVELS, ANSWERS, generator())
    assert found.p == pytest.approx(r_value("paired trend"))  # external: R coin
    assert drawn.p == pytest.approx(found.p, abs=0.005)
    assert ("random" in drawn.method, "normal" in found.method) == (True, True)


def test_the_slope_of_a_paired_trend_is_that_of_the_means() -> None:
    found = paired_trend(LEVELS, ANSWERS, generator())
    assert found.slope.value == pytest.approx(np.polyfit(LEVELS, ANSWERS.mean(axis=0), 1)[0])
    assert found.slope.low <= found.slope.value <= found.slope.high


def test_permuted_sums_have_the_exact_distribution() -> None:
    centred = np.array(LEVELS) - 7 / 3
    rows = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.3, 0.5, 0.9]])
    sums = permuted_sums(centred, rows, generator())
    spread = np.sum((rows - rows.mean(axis=1, keepdims=True)) ** 2) * (centred @ centred) / 2
    assert sums.mean() == pytest.approx(0.0, abs=0.08)
    assert sums.var() == pytest.approx(spread, rel=0.05)


def test_scores_that_never_change_show_no_trend() -> None:
    for score in (1.0, 0.7):
        found = paired_trend(LEVELS, np.full((5, 3), score), generator())
        assert (found.p, found.slope.value) == (1.0, 0.0)
    assert not paired_trend([2.0, 2.0], np.eye(2), generator()).slope.defined


def test_paired_trend_holds_its_level() -> None:
    rng = np.random.default_rng(9)
    p_values = []
    for _ in range(200):
        answers = (rng.random((30, 4)) < rng.random((30, 1))).astype(float)
        p_values.append(paired_trend([1.0, 2.0, 3.0, 4.0], answers, rng).p)
    assert np.mean(np.array(p_values) < 0.05) <= 0.09


def test_scores_of_other_levels_are_refused() -> None:
    for x, scores in (
        ([1.0, 2.0], ANSWERS),
        ([1.0], np.ones((3, 1))),
        ([1.0, 2.0], np.ones((0, 2))),
    ):
        with pytest.raises(ValueError, match="questions, "):
            paired_trend(x, scores, generator())


def test_many_pairs_have_the_p_of_students_t() -> None:
    draws = np.random.default_rng(3)
    x = draws.normal(size=MOST_PERMUTED + 1)
    y = 0.03 * x + draws.normal(size=x.size)
    found = spearman(x, y, np.random.default_rng(4))
    other = stats.spearmanr(x, y)  # external
    assert (found.rho.value, found.p) == pytest.approx((other.statistic, other.pvalue))
    assert (found.rule, 0.0001 < found.p < 0.9) == ("t approximation", True)
