from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from analysis.stats.multiplicity import benjamini_hochberg, holm
from tests.analysis.stats.external import r_vector

SEVERAL = [0.001, 0.2, 0.03, 0.04, 0.04, 0.9, 0.0123]  # as in reference/r_values.R


def test_holm_multiplies_the_smallest_p_by_the_number_of_tests() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_agrees_with_statsmodels_and_never_lowers_a_p(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert adjusted == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    assert all(p - 1e-12 <= q <= 1.0 for p, q in zip(p_values, adjusted, strict=True))


def test_adjusted_p_values_equal_those_of_r() -> None:
    assert holm(SEVERAL) == pytest.approx(r_vector("holm"))  # external: R p.adjust
    assert benjamini_hochberg(SEVERAL) == pytest.approx(r_vector("bh"))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_false_discovery_rate_is_never_stricter_than_holm(p_values: list[float]) -> None:
    for p, bh, strict in zip(p_values, benjamini_hochberg(p_values), holm(p_values), strict=True):
        assert p - 1e-12 <= bh <= strict + 1e-12


def test_the_order_of_tests_does_not_matter() -> None:
    turned = benjamini_hochberg(SEVERAL[::-1])
    assert turned[::-1] == pytest.approx(benjamini_hochberg(SEVERAL))


def test_a_test_that_was_not_made_counts_for_none() -> None:
    for adjust in (holm, benjamini_hochberg):
        adjusted = adjust([0.01, math.nan, 0.04])
        assert adjusted[0] == pytest.approx(0.02)
        assert math.isnan(adjusted[1])


def test_no_tests_give_no_p_values() -> None:
    assert holm([]) == benjamini_hochberg([]) == []


def test_a_percentage_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm([0.5, 5.0])
