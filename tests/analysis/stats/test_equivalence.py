from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import DescrStatsW

from analysis.stats.equivalence import tost_means, tost_paired
from analysis.stats.paired import PairedTable, tango_difference
from tests.analysis.stats.external import r_value, r_vector
from tests.analysis.stats.test_bootstrap import BELOW, SKEWED

COUNTS = st.integers(0, 300)


@given(COUNTS, COUNTS, COUNTS, st.sampled_from([0.01, 0.03, 0.1, 0.3]))
def test_equivalence_is_shown_where_the_90_interval_lies_within_the_margin(
    a: int, b: int, c: int, margin: float
) -> None:
    if a + b + c == 0:
        return
    table = PairedTable(a, b, c, 0)
    found, interval = tost_paired(table, margin), tango_difference(table, 0.9)
    assert (found.low90, found.high90) == (interval.low, interval.high)
    assert found.shown == (-margin < interval.low and interval.high < margin)
    assert found.noninferior == (-margin < interval.low)
    assert found.p >= found.p_noninferior


def test_paired_equivalence_turns_with_the_arms() -> None:
    one = tost_paired(PairedTable(400, 20, 22, 58), 0.03)
    other = tost_paired(PairedTable(400, 22, 20, 58), 0.03)
    assert one.p == pytest.approx(other.p)
    assert one.p_noninferior == pytest.approx(one.p)
    assert other.p_noninferior < one.p_noninferior


def test_no_difference_shown_is_not_equivalence() -> None:
    assert not tost_paired(PairedTable(10, 3, 3, 14), 0.03).shown


def test_equal_arms_are_equivalent_only_with_questions_enough() -> None:
    assert not tost_paired(PairedTable(30, 0, 0, 0), 0.03).shown
    assert tost_paired(PairedTable(500, 0, 0, 0), 0.03).shown


def test_paired_equivalence_keeps_its_level_at_the_margin() -> None:
    n, margin, discordance = 400, 0.05, 0.15
    chances = [(discordance - margin) / 2, (discordance + margin) / 2, 1 - discordance]
    draws = np.random.default_rng(4).multinomial(n, chances, size=4000)
    rows, counts = np.unique(draws, axis=0, return_counts=True)
    shown = [
        tost_paired(PairedTable(row[2], row[0], row[1], 0), margin).noninferior
        for row in rows.tolist()
    ]
    assert np.average(shown, weights=counts) == pytest.approx(0.05, abs=0.015)


def test_equivalence_of_means_equals_r_and_statsmodels() -> None:
    differences = np.subtract(SKEWED, BELOW)
    found = tost_means(differences, 0.5)
    assert found.p_noninferior == pytest.approx(r_value("tost lower"))  # external: R t.test
    assert found.p == pytest.approx(max(r_value("tost lower"), r_value("tost upper")))
    assert (found.low90, found.high90) == pytest.approx(r_vector("tost interval"))
    assert found.p == pytest.approx(DescrStatsW(differences).ttost_mean(-0.5, 0.5)[0])
    assert not found.shown
    assert tost_means(differences, 1.0).shown


@pytest.mark.parametrize("differences", [[0.1] * 6, [-0.5] * 9])
def test_an_unknown_spread_shows_nothing_and_says_why(differences: list[float]) -> None:
    found = tost_means(differences, 0.03)
    assert math.isnan(found.p)
    assert (found.shown, found.noninferior) == (False, False)
    assert "unknown" in str(found.reason)


def test_few_questions_that_differ_show_little_by_an_exact_bound() -> None:
    moved = [0.0] * 29 + [0.5]
    found = tost_means(moved, 0.03)
    assert found.p_noninferior == pytest.approx(0.97**30)  # no loss in 30, of 3% that lose
    assert found.p == pytest.approx(0.97**30 + 30 * 0.03 * 0.97**29)
    assert not found.noninferior
    assert found.low90 == pytest.approx(-(1 - 0.05 ** (1 / 30)))
    assert "exact binomial" in found.method
    assert tost_means([0.0] * 500, 0.03).shown
    assert not tost_means([0.0] * 30, 0.03).shown
    assert not tost_means([0.1], 0.03).shown


def test_means_of_which_few_differ_keep_the_level_at_the_margin() -> None:
    drawn = np.random.default_rng(6).random((3000, 100))
    differences = np.where(drawn < 0.06, -0.5, 0.0)  # a loss of exactly the margin
    shown = np.mean([tost_means(one, 0.03).noninferior for one in differences])
    assert shown <= 0.05  # 14% by t alone


@pytest.mark.parametrize("margin", [0.0, -0.03, 3.0, math.nan])
def test_a_margin_that_is_no_share_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin must lie in"):
        tost_paired(PairedTable(1, 1, 1, 1), margin)


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        tost_means([], 0.03)
    with pytest.raises(ValueError, match="at least one"):
        tost_paired(PairedTable(0, 0, 0, 0), 0.03)
