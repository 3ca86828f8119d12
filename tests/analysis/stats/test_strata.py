from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.estimate import Estimate
from analysis.stats.cluster import detectable_mean_difference, sign_flip_p
from analysis.stats.paired import PairedTable, newcombe_difference, wald_difference
from analysis.stats.strata import detectable_macro_difference, macro_mean, macro_sign_flip_p

ONE = [1.0, 0.0, 0.0, -1.0, 1.0, 1.0]
OTHER = [0.5, -0.25, 0.0, 0.75]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_every_task_counts_alike_whatever_its_size() -> None:
    found = macro_mean([Estimate(1.0, 0.7, 1.0), Estimate(0.0, -0.01, 0.01)])
    assert found.value == 0.5


def test_one_task_has_its_own_interval() -> None:
    assert_same(macro_mean([Estimate(0.2, -0.1, 0.4)]), (0.2, -0.1, 0.4))


def test_wald_intervals_join_to_the_wald_interval_of_the_mean() -> None:
    drawn = np.random.default_rng(1)
    strata = [drawn.choice([-1.0, 0.0, 1.0], size=n) for n in (30, 400)]
    found = macro_mean([wald_difference(one) for one in strata])
    error = math.sqrt(sum(one.var(ddof=1) / one.size for one in strata)) / 2
    z = stats.norm.isf(0.025)
    assert_same(found, (found.value, found.value - z * error, found.value + z * error))


def test_limits_that_are_not_symmetric_stay_so() -> None:
    found = macro_mean([Estimate(0.5, 0.2, 0.6), Estimate(0.1, -0.3, 0.1)])
    assert_same(found, (0.3, 0.3 - 0.25, 0.3 + 0.05))


def test_the_interval_of_the_mean_covers_where_few_questions_differ() -> None:
    drawn, covered = np.random.default_rng(3), 0
    for _ in range(200):  # a bootstrap within the tasks covers 125 of 200 here
        tables = [
            PairedTable(*drawn.multinomial(30, (0.965, 0.005, 0.015, 0.015)).tolist())
            for _ in range(2)
        ]
        found = macro_mean([newcombe_difference(table) for table in tables])
        covered += found.low <= -0.01 <= found.high
    assert covered >= 190


def assert_same(found: Estimate, expected: tuple[float, float, float]) -> None:
    assert (found.value, found.low, found.high) == pytest.approx(expected)


def test_p_is_that_of_all_sign_patterns() -> None:
    weighted = np.array([value / (2 * len(one)) for one in (ONE, OTHER) for value in one])
    moved = weighted[weighted != 0.0]
    patterns = itertools.product((-1, 1), repeat=moved.size)
    sums = [abs(float(np.dot(signs, moved))) for signs in patterns]
    exact = np.mean([one >= abs(moved.sum()) - 1e-12 for one in sums])
    assert macro_sign_flip_p([ONE, OTHER], rng()) == pytest.approx(exact, abs=0.006)


def test_many_sizes_of_differences_give_the_same_p_as_a_normal_sum() -> None:
    smooth = np.random.default_rng(2).normal(0.03, 0.3, size=(2, 300))
    sums = smooth.mean(axis=1)
    error = math.sqrt(float(np.sum(np.mean(smooth**2, axis=1)) / 300))
    expected = 2 * float(stats.norm.sf(abs(sums.sum()) / error))
    assert 0.01 < expected < 0.5
    assert macro_sign_flip_p(list(smooth), rng()) == pytest.approx(expected, abs=0.02)


def test_one_task_is_tested_exactly() -> None:
    assert macro_sign_flip_p([ONE], rng()) == sign_flip_p(ONE, rng())


def test_a_large_difference_has_a_small_p_but_never_zero() -> None:
    assert macro_sign_flip_p([[1.0] * 50, [1.0] * 50], rng()) == pytest.approx(1e-5)


def test_without_any_difference_p_is_one_and_the_interval_has_its_width() -> None:
    assert macro_sign_flip_p([[0.0] * 5, [0.0] * 9], rng()) == 1.0
    found = macro_mean([newcombe_difference(PairedTable(n, 0, 0, 0)) for n in (30, 30)])
    assert found.low < -0.05 < 0.05 < found.high


def test_a_task_without_interval_leaves_the_mean_without_one() -> None:
    found = macro_mean([Estimate(1.0), Estimate(0.5, 0.0, 1.0)])
    assert found.value == 0.75
    assert math.isnan(found.low)
    assert "no interval" in str(found.reason)
    assert not detectable_macro_difference([[1.0], [0.0, 1.0]]).defined


def test_a_few_questions_detect_nothing() -> None:
    assert not detectable_macro_difference([[1.0, 0.0], [0.0, 1.0, 0.0]]).defined


def test_the_interval_stays_within_one() -> None:
    found = macro_mean([Estimate(0.9, 0.1, 1.0), Estimate(-1.0, -1.0, -1.0)])
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0
    assert macro_mean([Estimate(0.9, 0.1, 1.4)]).high == 1.0


def test_the_detectable_difference_of_one_task_is_that_of_its_mean() -> None:
    found = detectable_macro_difference([ONE])
    assert found.value == pytest.approx(detectable_mean_difference(ONE).value)
    alike = detectable_macro_difference([ONE, ONE])
    assert alike.value == pytest.approx(found.value / math.sqrt(2))


def test_differences_that_are_all_alike_have_no_detectable_one() -> None:
    assert "alike" in (detectable_macro_difference([[0.0] * 4, [1.0] * 4]).reason or "")


def test_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        macro_mean([])


@pytest.mark.parametrize("strata", [[], [[]], [[1.0], []]])
def test_no_task_or_an_empty_one_has_no_test(strata: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        macro_sign_flip_p(strata, rng())


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert macro_sign_flip_p([ONE, OTHER], rng()) == macro_sign_flip_p([ONE, OTHER], rng())
