from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.proportions import (
    CLOPPER_PEARSON,
    clopper_pearson,
    cohens_h,
    h_label,
    interval_of,
    proportion,
    wilson_interval,
    z_of,
)
from tests.analysis.stats.external import r_vector


def test_wilson_interval_agrees_with_its_formula() -> None:
    k, n, z = 17, 30, 1.959963984540054
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    assert wilson_interval(k, n) == pytest.approx((centre - half, centre + half))


@pytest.mark.parametrize("level", [0.95, 0.9])
@pytest.mark.parametrize(("k", "n"), [(17, 30), (0, 30), (30, 30), (3, 500)])
def test_intervals_of_a_proportion_equal_those_of_r(k: int, n: int, level: float) -> None:
    exact = r_vector(f"clopper_pearson {k} {n} {level:g}")  # external: R binom.test
    assert clopper_pearson(k, n, level) == pytest.approx(exact, abs=1e-9)
    wilson = r_vector(f"wilson {k} {n} {level:g}")  # external: R prop.test
    assert wilson_interval(k, n, level) == pytest.approx(wilson, abs=1e-7)


@given(st.integers(1, 300), st.data())
def test_clopper_pearson_never_covers_less_than_it_says(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    low, high = clopper_pearson(k, n)
    if low > 0:
        assert stats.binom.sf(k - 1, n, low) == pytest.approx(0.025)
    if high < 1:
        assert stats.binom.cdf(k, n, high) == pytest.approx(0.025)


def test_none_and_all_correct_reach_the_ends_exactly() -> None:
    for n in range(1, 60):  # statsmodels gives Wilson's 1e-17 for 7, 9, 12 and others
        for method in ("Wilson", CLOPPER_PEARSON):
            assert interval_of(0, n, method, 0.95)[0] == 0.0
            assert interval_of(n, n, method, 0.95)[1] == 1.0


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_that_is_no_share_is_refused(level: float) -> None:
    for act in (lambda: wilson_interval(1, 2, level), lambda: z_of(level)):
        with pytest.raises(ValueError, match=r"\(0, 1\)"):
            act()


def test_the_method_of_an_interval_names_another_level() -> None:
    assert proportion(1, 2).method == "Wilson"
    assert proportion(1, 2, 0.9, CLOPPER_PEARSON).method == "Clopper-Pearson, 90%"


@given(st.integers(1, 2000), st.data())
def test_wilson_interval_holds_the_proportion_and_stays_in_the_unit_range(
    n: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson_interval(k, n)
    assert 0.0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1.0


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_intervals_refuse_impossible_counts(k: int, n: int) -> None:
    for interval in (wilson_interval, clopper_pearson):
        with pytest.raises(ValueError, match=r"n=0|0\.\.5"):
            interval(k, n)


def test_a_proportion_of_nothing_is_undefined_with_a_reason() -> None:
    nothing = proportion(0, 0)
    assert not nothing.defined
    assert nothing.reason == "no samples"


def test_all_correct_keeps_an_interval_below_one() -> None:
    assert proportion(30, 30).low == pytest.approx(0.8865, abs=5e-5)  # 30 / (30 + z^2)
    assert proportion(30, 30).high == 1.0


def test_h_is_positive_where_the_candidate_is_higher() -> None:
    assert cohens_h(0.8, 0.5) > 0 > cohens_h(0.5, 0.8)


def test_h_from_none_to_all_is_pi() -> None:
    assert cohens_h(1.0, 0.0) == pytest.approx(math.pi)


def test_h_refuses_a_percentage() -> None:
    with pytest.raises(ValueError, match=r"candidate must lie in \[0, 1\]"):
        cohens_h(57.2, 0.5)


@pytest.mark.parametrize(
    ("h", "label"),
    [
        (0.0, "negligible"),
        (-0.199, "negligible"),
        (0.2, "Small"),
        (-0.499, "Small"),
        (0.5, "Medium"),
        (0.8, "Large"),
        (-3.0, "Large"),
    ],
)
def test_h_label_follows_the_published_bounds(h: float, label: str) -> None:
    assert h_label(h) == label
