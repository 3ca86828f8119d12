from __future__ import annotations

import json
import math

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
    mcnemar,
    mid_p,
    newcombe_difference,
    odds_ratio,
    tango_difference,
    tango_z,
    wald_difference,
)
from analysis.stats.proportions import wilson_interval
from tests.analysis.stats.external import r_value, r_vector, rows_of
from tests.conftest import SHARED, needs_shared

COUNTS = st.integers(0, 400)


def table_of(row: dict[str, str]) -> PairedTable:
    return PairedTable(*(int(row[name]) for name in PairedTable._fields))


@pytest.mark.parametrize("row", rows_of("newcombe_paired.csv"), ids=lambda row: row["source"][:30])
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
    for estimator in (mcnemar, newcombe_difference, tango_difference, odds_ratio):
        with pytest.raises(ValueError, match=r"at least one question|>= 0"):
            estimator(table)


@pytest.mark.parametrize(("b", "c"), [(25, 1093), (0, 5000), (1895, 46)])
def test_no_p_value_is_zero_or_below(b: int, c: int) -> None:
    found = mcnemar(PairedTable(1, b, c, 1))
    assert SMALLEST_P <= found.mid_p <= found.exact_p
    assert found.p >= SMALLEST_P


def test_a_tiny_exact_p_is_not_rounded_away() -> None:
    ways = sum(math.comb(1118, k) for k in range(26))  # scipy's binom.cdf gives 0 here
    assert mcnemar(PairedTable(1, 25, 1093, 1)).exact_p == pytest.approx(2 * ways / 2**1118)


TANGO = [(1, 7, 21), (6, 16, 161), (7, 0, 14), (0, 7, 14), (0, 0, 14), (1, 0, 14), (5, 5, 16)]
TANGO += [(13, 1, 14), (14, 0, 14), (0, 14, 14), (1, 1, 2), (1, 0, 1), (25, 12, 200)]
TANGO += [(28, 25, 618), (40, 20, 160), (900, 1100, 10000)]
SMALL = st.integers(0, 30)


@pytest.mark.parametrize("level", [0.95, 0.9])
@pytest.mark.parametrize(("b", "c", "n"), TANGO)
def test_tango_interval_equals_that_of_r(b: int, c: int, n: int, level: float) -> None:
    found = tango_difference(PairedTable(n - b - c, b, c, 0), level)
    expected = r_vector(f"tango {b} {c} {n} {level:g}")  # external: R PropCIs, which bisects
    assert found.value == (b - c) / n
    assert (found.low, found.high) == pytest.approx(expected, abs=5e-7)


@pytest.mark.parametrize("row", rows_of("tango_published.csv"), ids=lambda row: row["source"][:30])
def test_tango_interval_equals_published_examples(row: dict[str, str]) -> None:
    found = tango_difference(table_of(row), float(row["level"]))
    half_a_digit = 0.51 * 10 ** -int(row["digits"])
    assert (found.low, found.high) == pytest.approx(
        (float(row["low"]), float(row["high"])), abs=half_a_digit
    )


@given(SMALL, SMALL, SMALL)
def test_tango_limits_are_what_the_score_test_just_rejects(a: int, b: int, c: int) -> None:
    if a + b + c == 0:
        return
    table = PairedTable(a, b, c, 0)
    found = tango_difference(table)
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0
    if found.low > -1.0:
        assert tango_z(table, found.low) == pytest.approx(1.959964, abs=1e-5)
    if found.high < 1.0:
        assert tango_z(table, found.high) == pytest.approx(-1.959964, abs=1e-5)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_tango_interval_turns_with_the_arms(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d:
        one = tango_difference(PairedTable(a, b, c, d))
        other = tango_difference(PairedTable(d, c, b, a))
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)


def test_the_score_statistic_of_no_difference_is_mcnemars_without_correction() -> None:
    assert tango_z(PairedTable(9, 14, 5, 8), 0.0) == pytest.approx((14 - 5) / math.sqrt(19))


def test_the_score_statistic_at_the_ends_is_not_a_number_that_crashes() -> None:
    assert tango_z(PairedTable(0, 3, 0, 0), 1.0) == 0.0
    assert tango_z(PairedTable(0, 3, 0, 0), -1.0) == math.inf
    assert tango_z(PairedTable(3, 0, 0, 0), 1.0) == -math.inf
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        tango_z(PairedTable(3, 0, 0, 0), 3.0)


def test_tango_interval_covers_as_often_as_it_says() -> None:
    b, c, n = 0.12, 0.05, 60
    draws = np.random.default_rng(2).multinomial(n, [b, c, 1 - b - c], size=3000)
    intervals = {
        tuple(row): tango_difference(PairedTable(row[2], row[0], row[1], 0))
        for row in np.unique(draws, axis=0).tolist()
    }
    held = [intervals[tuple(row)] for row in draws.tolist()]
    covered = np.mean([one.low <= b - c <= one.high for one in held])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_mcnemar_and_binomial_p_equal_those_of_r() -> None:
    assert mcnemar(PairedTable(300, 60, 40, 100)).p == pytest.approx(r_value("mcnemar 60 40"))
    assert mcnemar(PairedTable(12, 1, 8, 9)).p == pytest.approx(r_value("binomial 1 8"))


def test_mcnemar_equals_a_published_example_in_every_form() -> None:
    found = mcnemar(PairedTable(59, 6, 16, 80))  # external: R contingencytables, cavo_2012
    assert found.p == found.exact_p == pytest.approx(0.052479, abs=5e-7)
    assert found.mid_p == pytest.approx(0.034690, abs=5e-7)


def test_odds_ratio_equals_a_published_example() -> None:
    found = odds_ratio(PairedTable(10, 25, 2, 63))  # external: R contingencytables, ezra_2010
    assert (found.value, found.low, found.high) == pytest.approx((12.5, 3.1169, 108.8892), abs=5e-5)


def test_odds_ratio_of_one_sided_tables_says_why_it_has_no_end() -> None:
    only_ours = odds_ratio(PairedTable(3, 4, 0, 3))
    assert (only_ours.value, only_ours.high) == (math.inf, math.inf)
    assert only_ours.low == pytest.approx(1 / odds_ratio(PairedTable(3, 0, 4, 3)).high)
    assert only_ours.reason == "no baseline-only question"
    neither = odds_ratio(PairedTable(3, 0, 0, 3))
    assert not neither.defined
    assert neither.reason == "no discordant pair"


@given(st.integers(0, 60), st.integers(0, 60))
def test_odds_ratio_interval_holds_one_where_the_exact_test_does_not_reject(b: int, c: int) -> None:
    if b + c:
        found = odds_ratio(PairedTable(1, b, c, 1))
        p = mcnemar(PairedTable(1, b, c, 1)).exact_p
        assert (found.low <= 1.0 <= found.high) == (p > 0.05)


def test_wald_interval_is_the_normal_one() -> None:
    values = np.array([1.0] * 3 + [-1.0] * 5 + [0.0] * 32)
    found = wald_difference(values)
    expected = stats.norm.interval(0.95, values.mean(), stats.sem(values))
    assert (found.value, found.low, found.high) == pytest.approx((-0.05, *expected))


def test_wald_interval_of_degenerate_input_is_explicit() -> None:
    assert wald_difference([0.0, 0.0]).low == wald_difference([0.0, 0.0]).high == 0.0
    assert "no width" in str(wald_difference([0.0, 0.0]).reason)
    assert math.isnan(wald_difference([1.0]).low)
    for values in ([], [math.nan, 1.0]):
        with pytest.raises(ValueError, match=r"at least one|finite"):
            wald_difference(values)


@needs_shared
def test_a_published_summary_has_these_wilson_and_paired_normal_intervals() -> None:
    path = SHARED / "data" / "outputs" / "thinking_on_off" / "summary.json"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert len(cells) == 10
    for cell in cells:
        flips, printed = cell["flips"], cell["paired"]
        differences = [1.0] * flips["on_only"] + [-1.0] * flips["off_only"]
        found = wald_difference(differences + [0.0] * flips["agree"])
        assert (found.value, found.low, found.high) == pytest.approx(
            (printed["mean"], printed["lo"], printed["hi"]), abs=1e-6
        )
        for arm in (cell["on"], cell["off"]):
            limits = (arm["acc_lo"], arm["acc_hi"])
            assert wilson_interval(arm["correct"], arm["n"]) == pytest.approx(limits, abs=1e-6)
