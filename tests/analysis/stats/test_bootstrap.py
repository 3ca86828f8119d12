from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import bootstrap
from analysis.stats.bootstrap import (
    BCA,
    NORMAL,
    PERCENTILE,
    Floats,
    few,
    interval_of_means,
    limits_of,
    renamed,
    resampled_means,
    spread_of,
)
from tests.analysis.stats.external import r_vector

# As in reference/r_values.R.
SKEWED = [0.1, 0.4, 0.2, 3.1, 0.9, 0.3, 1.7, 0.05, 0.6, 2.2]
SKEWED += [0.7, 0.15, 5.9, 0.35, 1.1, 0.8, 0.25, 1.4, 0.45, 0.5]
BELOW = [1.2, 0.9, 1.1, 2.3, 0.8, 1.0, 1.9, 0.7, 1.3, 1.6]
BELOW += [0.6, 1.4, 2.9, 1.05, 0.95, 1.5, 0.85, 1.7, 1.15, 1.25]
FEW = [-1.0] * 3 + [0.0] * 20 + [1.0] * 9


def generator() -> np.random.Generator:
    return np.random.default_rng(1234)


def mean(means: Floats) -> Floats:
    return means[..., 0]


def ratio(means: Floats) -> Floats:
    return means[..., 0] / means[..., 1]


def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw so often that the draws' own noise is small beside what is compared."""
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 200_000)
    monkeypatch.setattr(bootstrap.resampled_means, "__defaults__", (200_000,))


def test_bca_intervals_equal_those_of_r(monkeypatch: pytest.MonkeyPatch) -> None:
    many(monkeypatch)
    columns = np.array([SKEWED, BELOW]).T
    for found, name in (
        (interval_of_means(columns, mean, generator()), "bca mean"),
        (interval_of_means(columns, ratio, generator()), "bca ratio"),
        (interval_of_means(columns, mean, generator(), method=PERCENTILE), "percentile mean"),
    ):
        assert (found.low, found.high) == pytest.approx(r_vector(name), abs=0.012), name


def test_bca_of_few_values_equals_that_of_r(monkeypatch: pytest.MonkeyPatch) -> None:
    many(monkeypatch)
    found = interval_of_means(np.array(FEW), mean, generator())  # steps of 1 / 32
    assert (found.low, found.high) == pytest.approx(r_vector("bca few values"), abs=1 / 32 + 1e-9)


def test_bca_draws_and_limits_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).lognormal(size=300)
    ours = interval_of_means(values, mean, generator())
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=9_999, method="BCa", batch=512, rng=generator()
    ).confidence_interval
    assert ours.method == BCA
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=2e-3)


def test_bca_covers_a_skewed_mean_more_often_than_the_percentile_interval() -> None:
    rng = np.random.default_rng(5)
    held = {BCA: 0, PERCENTILE: 0}
    for _ in range(400):
        values = rng.lognormal(size=30)
        for method in held:
            found = interval_of_means(values, mean, rng, method=method)
            held[method] += found.low <= math.exp(0.5) <= found.high
    assert held[BCA] > held[PERCENTILE]
    assert held[BCA] / 400 > 0.87


def test_counts_of_few_values_have_the_spread_of_single_draws() -> None:
    values = np.array(FEW)[:, None]
    values = np.tile(values, (2, 1))
    assert few(3, len(values))
    by_counts = resampled_means(values, generator(), 20_000)[:, 0]
    expected = values.std() / math.sqrt(len(values))
    assert by_counts.std() == pytest.approx(expected, rel=0.03)
    assert by_counts.mean() == pytest.approx(values.mean(), abs=0.01)


def test_many_questions_take_the_normal_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).lognormal(size=2_000)
    drawn = interval_of_means(values, mean, generator())
    monkeypatch.setattr(bootstrap, "LARGEST_N", 1_000)
    found = interval_of_means(values, mean, generator())
    assert found.method == NORMAL
    half = 1.959964 * values.std(ddof=1) / math.sqrt(2_000)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert (found.low, found.high) == pytest.approx((drawn.low, drawn.high), abs=0.015)


def test_an_open_ratio_has_no_upper_limit() -> None:
    tokens = np.arange(1.0, 41.0)
    solved = np.array([1.0] + [0.0] * 39)
    found = interval_of_means(np.array([tokens, solved]).T, ratio, generator())
    assert found.value == tokens.sum()
    assert math.isfinite(found.low)
    assert found.high == math.inf
    assert "BCa undefined" in str(found.reason)


def test_a_figure_that_is_no_number_is_undefined_with_a_reason() -> None:
    columns = np.array([[1.0, 0.0], [2.0, 0.0]])
    found = interval_of_means(columns, ratio, generator())
    assert not found.defined
    assert "not finite" in str(found.reason)


def test_resamples_equal_to_the_estimate_count_half_below() -> None:
    drawn = np.repeat([-2.0, -1.0, 0.0, 1.0, 2.0], [40, 200, 520, 200, 40])
    limits = limits_of(drawn, 0.0, np.array([-1.0, 0.0, 1.0]))  # symmetric: nothing to correct
    assert (limits.method, limits.low, limits.high) == (BCA, -2.0, 2.0)
    assert limits_of(drawn, 1e-15, np.array([-1.0, 0.0, 1.0]))[:3] == (-2.0, 2.0, BCA)


def test_resamples_on_one_side_fall_back_to_the_percentile_interval() -> None:
    limits = limits_of(np.linspace(1.0, 2.0, 100), 3.0, np.array([3.0, 3.1]))
    assert limits.method == PERCENTILE
    assert "one side" in str(limits.reason)
    assert (limits.low, limits.high) == pytest.approx((1.025, 1.975))


def test_nothing_and_infinite_values_are_refused() -> None:
    for columns in (np.zeros((0, 2)), np.array([[math.inf, 1.0]])):
        with pytest.raises(ValueError, match=r"at least one|finite"):
            interval_of_means(columns, mean, generator())
    with pytest.raises(ValueError, match="at least one"):
        resampled_means(np.zeros((0, 1)), generator())
    with pytest.raises(ValueError, match="BCa"):
        interval_of_means(np.array(FEW), mean, generator(), "bca")


def test_values_alike_up_to_rounding_have_no_spread() -> None:
    assert spread_of(np.array([0.7, 0.7, 0.7])) == 0.0  # numpy's std gives 1e-16
    assert spread_of(np.array([0.3 - 0.2, 0.1])) == 0.0
    assert spread_of(np.array([0.0, 0.0])) == 0.0
    assert spread_of(np.array(SKEWED)) == pytest.approx(np.std(SKEWED, ddof=1))
    assert spread_of(np.array([1e-9, 2e-9])) > 0.0


def test_another_unit_gets_its_name() -> None:
    one = interval_of_means(np.array([0.5]), mean, generator())
    found = renamed(one, "item", "agreement")
    assert found.method == "agreement, item bootstrap, BCa"
    assert found.reason == "one item: no interval"
