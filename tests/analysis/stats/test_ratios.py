from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import ratios
from analysis.stats.ratios import DELTA, MOST_RESAMPLED, of_means, ratio, ratio_of_ratios


def generator(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


def sizes_and_scores(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = generator(1)
    return rng.lognormal(6.0, 1.0, n), (rng.random(n) < 0.6).astype(np.float64)


def test_a_ratio_is_that_of_the_sums_and_not_a_mean_of_ratios() -> None:
    assert ratio([520, 80, 310], [1, 0, 1], generator()).value == pytest.approx(910 / 2)


def test_the_interval_is_that_of_scipys_paired_bootstrap() -> None:
    # external: another program's resamples, so that the limits agree up to their own noise
    spent, solved = sizes_and_scores(300)
    found = ratio(spent, solved, generator())
    other = stats.bootstrap(
        (spent, solved),
        lambda x, y, axis: x.mean(axis=axis) / y.mean(axis=axis),
        paired=True,
        n_resamples=9_999,
        method="percentile",
        rng=generator(2),
    ).confidence_interval
    width = other.high - other.low
    assert found.low == pytest.approx(other.low, abs=width / 25)
    assert found.high == pytest.approx(other.high, abs=width / 25)


def test_the_delta_method_has_the_published_variance_of_a_ratio() -> None:
    # (s_x^2 - 2 r s_xy + r^2 s_y^2) / (n mean_y^2): Cochran 1977, Sampling Techniques, eq. 2.39
    spent, solved = sizes_and_scores(MOST_RESAMPLED + 1)
    found = ratio(spent, solved, generator())
    assert found.method == DELTA
    r = spent.sum() / solved.sum()
    covariance = np.cov(spent, solved)
    variance = covariance[0, 0] - 2 * r * covariance[0, 1] + r**2 * covariance[1, 1]
    half = 1.959964 * math.sqrt(variance / len(spent)) / solved.mean()
    assert (found.low, found.high) == pytest.approx((r - half, r + half), rel=1e-6)


def test_resampling_and_delta_agree_where_questions_are_many() -> None:
    spent, solved = sizes_and_scores(MOST_RESAMPLED)
    found = ratio(spent, solved, generator())
    linear = ratios.by_delta(np.stack([spent, solved]), np.divide, found.value)
    width = linear.high - linear.low
    assert (found.low, found.high) == pytest.approx((linear.low, linear.high), abs=width / 15)


def test_a_resample_without_anything_in_the_denominator_opens_the_interval_upwards() -> None:
    found = ratio([100.0] * 6, [1, 0, 0, 0, 0, 0], generator())
    assert found.value == 600.0
    assert found.low < 600.0
    assert found.high == math.inf


def test_nothing_in_the_denominator_is_undefined_and_one_question_has_no_interval() -> None:
    assert ratio([1.0, 2.0], [0.0, 0.0], generator()).reason == "a denominator is 0"
    one = ratio([3.0], [2.0], generator())
    assert (one.value, one.reason) == (1.5, "one question: no interval")
    assert math.isnan(one.low)


def test_nothing_over_nothing_in_a_resample_leaves_no_interval() -> None:
    found = ratio([0.0, 4.0, 0.0], [0.0, 2.0, 0.0], generator())
    assert found.value == 2.0
    assert math.isnan(found.high)
    assert found.reason == "0 / 0 in some resamples: no interval"


def test_a_ratio_of_ratios_is_one_where_both_arms_are_alike() -> None:
    spent, solved = sizes_and_scores(50)
    same = ratio_of_ratios((spent, solved, spent, solved), generator())
    assert (same.value, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0))
    double = ratio_of_ratios((2 * spent, solved, spent, solved), generator())
    assert double.value == pytest.approx(2.0)


def test_columns_of_any_number_go_into_a_function_of_means() -> None:
    found = of_means(([1, 3], [2, 2], [5, 7]), lambda a, b, c: a + b * c, generator())
    assert found.value == 2 + 2 * 6


def test_equal_seeds_give_equal_intervals() -> None:
    spent, solved = sizes_and_scores(40)
    assert ratio(spent, solved, generator()) == ratio(spent, solved, generator())


def test_no_questions_and_unequal_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one question"):
        ratio([], [], generator())
    with pytest.raises(ValueError, match="shape"):
        ratio([1.0], [1.0, 2.0], generator())
