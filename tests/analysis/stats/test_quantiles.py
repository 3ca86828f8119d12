from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.quantiles import median


def test_the_interval_is_that_of_scipys_quantile_test_for_every_small_n() -> None:
    # external: scipy's exact order-statistic interval
    for n in range(2, 80):
        values = np.random.default_rng(n).lognormal(size=n)
        other = stats.quantile_test(values, q=1.0, p=0.5).confidence_interval(0.95)
        found = median(values)
        assert found.value == np.median(values)
        if math.isnan(other.low) or math.isnan(other.high):
            assert n < 6
            assert math.isnan(found.low)
            assert found.reason == "fewer than 6 questions: no interval"
        else:
            assert (found.low, found.high) == (other.low, other.high)


def test_the_example_of_the_module() -> None:
    found = median([120, 80, 4000, 95, 110, 130, 90])
    assert (found.value, found.low, found.high) == (110, 80, 4000)


def test_one_value_is_its_own_median_and_none_is_an_error() -> None:
    assert median([5.0]).value == 5.0
    with pytest.raises(ValueError, match="at least one question"):
        median([])
