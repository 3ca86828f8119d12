from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.paired import PairedTable, mcnemar
from analysis.stats.power import detectable_difference, exact_power, needed_n
from tests.analysis.stats.external import r_value


def test_the_detectable_difference_has_the_stated_power() -> None:
    table = PairedTable(300, 60, 40, 100)
    delta, n, discordance = detectable_difference(table).value, table.n, 100 / 500
    rng = np.random.default_rng(0)
    chances = [(discordance + delta) / 2, (discordance - delta) / 2, 1 - discordance]
    draws = rng.multinomial(n, chances, size=20_000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(draws[:, 0] + draws[:, 1])
    assert np.mean(np.abs(z) > 1.959964) == pytest.approx(0.80, abs=0.015)


def test_more_questions_show_smaller_differences() -> None:
    small = detectable_difference(PairedTable(10, 3, 5, 12)).value
    assert detectable_difference(PairedTable(100, 30, 50, 120)).value < small < 1.0


def test_the_detectable_difference_is_defined_without_discordant_pairs() -> None:
    assert 0.0 < detectable_difference(PairedTable(30, 0, 0, 0)).value < 1.0


def test_too_few_questions_can_show_nothing() -> None:
    found = detectable_difference(PairedTable(1, 1, 0, 0))
    assert not found.defined
    assert "too small" in str(found.reason)


@pytest.mark.parametrize("n", range(1, 6))
def test_five_questions_can_show_no_difference(n: int) -> None:
    assert mcnemar(PairedTable(0, n, 0, 0)).p > 0.05
    assert not detectable_difference(PairedTable(0, n, 0, 0)).defined


@pytest.mark.parametrize("table", [PairedTable(0, 0, 0, 0), PairedTable(1, -1, 2, 2)])
def test_impossible_tables_are_refused(table: PairedTable) -> None:
    with pytest.raises(ValueError, match=r"at least one question|>= 0"):
        detectable_difference(table)


def power_of(difference: float, discordance: float, n: int) -> float:
    """Return Connor's power, from the formula that `needed_n` solves."""
    z = stats.norm.isf(0.025)
    reached = difference * math.sqrt(n) - z * math.sqrt(discordance)
    return float(stats.norm.cdf(reached / math.sqrt(discordance - difference**2)))


def test_power_and_needed_n_equal_those_of_r() -> None:
    assert power_of(0.05, 0.20, 500) == pytest.approx(r_value("power"))  # external: R MESS
    assert needed_n(0.05, 0.20).value == math.ceil(r_value("needed n"))
    assert needed_n(0.125, 0.375, power=0.9).value == math.ceil(r_value("needed n 90"))


def test_exact_power_equals_that_of_r() -> None:
    assert exact_power(0.15, 0.20, 60) == pytest.approx(r_value("exact power"))


def test_the_approximate_power_comes_near_the_exact_one() -> None:
    for difference, n in ((0.05, 500), (0.1, 200), (0.03, 1319)):
        near = power_of(difference, 0.2, n)
        assert exact_power(difference, 0.2, n) == pytest.approx(near, abs=0.035)


def test_the_exact_test_keeps_its_level() -> None:
    assert 0.0 < exact_power(0.0, 0.2, 500) <= 0.05


@given(st.floats(0.01, 0.4), st.floats(0.2, 0.5))
def test_needed_n_is_the_first_number_that_has_the_power(difference: float, more: float) -> None:
    discordance = difference + more
    n = int(needed_n(difference, discordance).value)
    assert power_of(difference, discordance, n) >= 0.8 - 1e-9
    if n > 6:
        assert power_of(difference, discordance, n - 1) < 0.8
    assert needed_n(-difference, discordance).value == n


def test_the_detectable_difference_needs_as_many_questions_as_there_are() -> None:
    table = PairedTable(300, 60, 40, 100)
    assert needed_n(detectable_difference(table).value, 0.2).value == table.n


def test_a_difference_of_zero_is_shown_by_no_number_of_questions() -> None:
    assert not needed_n(0.0, 0.2).defined


def test_degenerate_truths_are_explicit() -> None:
    assert exact_power(1.0, 1.0, 6) == pytest.approx(1.0)
    assert exact_power(1.0, 1.0, 5) == 0.0
    assert exact_power(0.0, 0.0, 100) == 0.0
    for act in (
        lambda: exact_power(0.3, 0.2, 100),
        lambda: needed_n(0.3, 1.2),
        lambda: needed_n(0.1, 0.2, power=80),
        lambda: exact_power(0.1, 0.2, 0),
    ):
        with pytest.raises(ValueError, match="got"):
            act()
