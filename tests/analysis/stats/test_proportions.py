from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.stats.proportions import cohens_h, h_label, proportion, wilson_interval


def test_wilson_interval_agrees_with_its_formula() -> None:
    k, n, z = 17, 30, 1.959963984540054
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    assert wilson_interval(k, n) == pytest.approx((centre - half, centre + half))


@given(st.integers(1, 2000), st.data())
def test_wilson_interval_holds_the_proportion_and_stays_in_the_unit_range(
    n: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson_interval(k, n)
    assert 0.0 <= low <= k / n + 1e-12
    assert k / n - 1e-12 <= high <= 1.0


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match=r"n=0|0\.\.5"):
        wilson_interval(k, n)


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
