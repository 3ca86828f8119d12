from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from analysis.stats.paired import (
    CHI2,
    EXACT,
    SMALLEST_P,
    PairedTable,
    detectable_difference,
    mcnemar,
    mid_p,
    newcombe_difference,
)

REFERENCE = Path(__file__).parent / "reference"
COUNTS = st.integers(0, 400)


def reference_rows() -> list[dict[str, str]]:
    with (REFERENCE / "newcombe_paired.csv").open(encoding="utf-8") as rows:
        return list(csv.DictReader(rows))


def table_of(row: dict[str, str]) -> PairedTable:
    return PairedTable(*(int(row[name]) for name in PairedTable._fields))


@pytest.mark.parametrize("row", reference_rows(), ids=lambda row: row["source"][:30])
def test_newcombe_interval_equals_published_examples(row: dict[str, str]) -> None:
    found = newcombe_difference(table_of(row))  # external: the source stands in the file
    assert (found.value, found.low, found.high) == pytest.approx(
        tuple(float(row[name]) for name in ("difference", "low", "high")), abs=5e-5
    )


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_newcombe_interval_holds_the_difference_within_one(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d:
        found = newcombe_difference(PairedTable(a, b, c, d))
        assert -1.0 <= found.low <= found.value + 1e-12
        assert found.value - 1e-12 <= found.high <= 1.0


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_newcombe_interval_turns_with_the_arms(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d:
        one = newcombe_difference(PairedTable(a, b, c, d))
        other = newcombe_difference(PairedTable(a, c, b, d))
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_newcombe_interval_of_equal_perfect_arms_is_not_empty() -> None:
    found = newcombe_difference(PairedTable(30, 0, 0, 0))
    assert found.value == 0.0
    assert found.low < 0.0 < found.high


@pytest.mark.parametrize(("b", "c"), [(1, 8), (12, 12), (0, 6), (23, 1)])
def test_mcnemar_is_exact_below_25_discordant_pairs(b: int, c: int) -> None:
    found = mcnemar(PairedTable(5, b, c, 5))
    assert found.rule == EXACT
    assert found.p == found.exact_p == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue)


@pytest.mark.parametrize(("b", "c"), [(13, 12), (124, 50), (0, 25)])
def test_mcnemar_is_chi_square_from_25_discordant_pairs(b: int, c: int) -> None:
    found = mcnemar(PairedTable(5, b, c, 5))
    expected = stats.chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1)
    assert found.rule == CHI2
    assert found.p == pytest.approx(expected)
    assert found.p == pytest.approx(
        reference_mcnemar([[5, b], [c, 5]], exact=False, correction=True).pvalue
    )
    assert found.exact_p == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue)


def test_no_discordant_pair_gives_p_one() -> None:
    assert mcnemar(PairedTable(10, 0, 0, 20)) == (1.0, EXACT, 1.0, 1.0)


@pytest.mark.parametrize(("b", "c"), [(1, 8), (10, 3), (4, 4)])
def test_mid_p_counts_half_of_the_observed_table(b: int, c: int) -> None:
    ways = [math.comb(b + c, k) for k in range(b + c + 1)]
    rarer = sum(w for w in ways if w < ways[b])
    equal = sum(w for w in ways if w == ways[b])
    assert mid_p(b, c) == pytest.approx((rarer + equal / 2) / 2 ** (b + c))


@given(st.integers(0, 60), st.integers(0, 60))
def test_p_values_are_ordered_and_within_bounds(b: int, c: int) -> None:
    found = mcnemar(PairedTable(3, b, c, 3))
    assert 0.0 <= found.mid_p <= found.exact_p <= 1.0
    assert 0.0 <= found.p <= 1.0


@pytest.mark.parametrize("table", [PairedTable(0, 0, 0, 0), PairedTable(1, -1, 2, 2)])
def test_impossible_tables_are_refused(table: PairedTable) -> None:
    for estimator in (mcnemar, newcombe_difference, detectable_difference):
        with pytest.raises(ValueError, match=r"at least one question|>= 0"):
            estimator(table)


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


@pytest.mark.parametrize(("b", "c"), [(25, 1093), (0, 5000), (1895, 46)])
def test_no_p_value_is_zero_or_below(b: int, c: int) -> None:
    found = mcnemar(PairedTable(1, b, c, 1))
    assert SMALLEST_P <= found.mid_p <= found.exact_p
    assert found.p >= SMALLEST_P


def test_a_tiny_exact_p_is_not_rounded_away() -> None:
    ways = sum(math.comb(1118, k) for k in range(26))  # scipy's binom.cdf gives 0 here
    assert mcnemar(PairedTable(1, 25, 1093, 1)).exact_p == pytest.approx(2 * ways / 2**1118)


@pytest.mark.parametrize("n", range(1, 6))
def test_five_questions_can_show_no_difference(n: int) -> None:
    assert mcnemar(PairedTable(0, n, 0, 0)).p > 0.05
    assert not detectable_difference(PairedTable(0, n, 0, 0)).defined
