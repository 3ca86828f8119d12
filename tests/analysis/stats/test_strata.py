from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats.cluster import detectable_mean_difference, sign_flip_p
from analysis.stats.strata import detectable_macro_difference, macro_mean, macro_sign_flip_p

ONE = [1.0, 0.0, 0.0, -1.0, 1.0, 1.0]
OTHER = [0.5, -0.25, 0.0, 0.75]


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_every_task_counts_alike_whatever_its_size() -> None:
    found = macro_mean([[1.0] * 10, [0.0] * 990], rng())
    assert found.value == 0.5


def test_the_interval_is_as_wide_as_the_spreads_within_tasks_say() -> None:
    drawn = np.random.default_rng(1)
    strata = [drawn.choice([-1.0, 0.0, 1.0], size=n) for n in (30, 400)]
    found = macro_mean(strata, rng())
    error = math.sqrt(sum(one.var(ddof=1) / one.size for one in strata)) / 2
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.01)


def test_values_that_are_drawn_one_by_one_give_the_same_interval() -> None:
    drawn = np.random.default_rng(1)
    smooth = drawn.uniform(-0.3, 0.5, size=300)
    found = macro_mean([smooth, smooth], rng())
    error = smooth.std(ddof=1) / math.sqrt(300) / math.sqrt(2)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.05)


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


def test_without_any_difference_p_is_one_and_the_interval_has_no_width() -> None:
    zeros = [[0.0] * 5, [0.0] * 9]
    assert macro_sign_flip_p(zeros, rng()) == 1.0
    found = macro_mean(zeros, rng())
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_task_of_one_question_has_no_spread() -> None:
    found = macro_mean([[1.0], [0.0, 1.0]], rng())
    assert found.value == 0.75
    assert math.isnan(found.low)
    assert found.reason is not None
    assert not detectable_macro_difference([[1.0], [0.0, 1.0]]).defined


def test_the_interval_stays_within_one() -> None:
    found = macro_mean([[1.0, 1.0, -1.0], [1.0, 1.0, 0.0]], rng())
    assert -1.0 <= found.low <= found.value <= found.high <= 1.0


def test_the_detectable_difference_of_one_task_is_that_of_its_mean() -> None:
    found = detectable_macro_difference([ONE])
    assert found.value == pytest.approx(detectable_mean_difference(ONE).value)
    alike = detectable_macro_difference([ONE, ONE])
    assert alike.value == pytest.approx(found.value / math.sqrt(2))


def test_differences_that_are_all_alike_have_no_detectable_one() -> None:
    assert "alike" in (detectable_macro_difference([[0.0, 0.0], [1.0, 1.0]]).reason or "")


@pytest.mark.parametrize("strata", [[], [[]], [[1.0], []]])
def test_no_task_or_an_empty_one_is_refused(strata: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        macro_mean(strata, rng())
    with pytest.raises(ValueError, match="at least one"):
        macro_sign_flip_p(strata, rng())


def test_the_same_seed_gives_the_same_numbers() -> None:
    assert macro_mean([ONE, OTHER], rng()) == macro_mean([ONE, OTHER], rng())
    assert macro_sign_flip_p([ONE, OTHER], rng()) == macro_sign_flip_p([ONE, OTHER], rng())
