from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.noise import noise_floor
from analysis.stats.seeds import (
    against_baseline,
    over_seeds,
    paired_over_seeds,
    variance_parts,
)
from tests.analysis.stats.external import r_vector
from tests.analysis.stats.test_bootstrap import SKEWED

SCORES = [0.692, 0.696, 0.694, 0.697, 0.693]  # as in reference/r_values.R
OTHERS = [0.641, 0.652, 0.645]


def generator() -> np.random.Generator:
    return np.random.default_rng(1234)


def runs_of(chances: NDArray[np.float64], n_runs: int, seed: int) -> NDArray[np.float64]:
    """Return (questions, runs) of verdicts with a chance of each question."""
    drawn = np.random.default_rng(seed).random((chances.size, n_runs))
    return (drawn < chances[:, None]).astype(float)


def test_runs_are_summarised_as_by_r() -> None:
    found = over_seeds(SCORES)
    assert (found.n, found.low, found.high) == (5, 0.692, 0.697)
    assert found.mean == pytest.approx(0.6944)
    assert found.sd == pytest.approx(np.std(SCORES, ddof=1))
    assert (found.t.low, found.t.high) == pytest.approx(r_vector("one sample t")[1:])  # external


def test_the_bootstrap_over_runs_lies_within_the_runs_and_repeats() -> None:
    found = over_seeds(SCORES)
    assert 0.692 <= found.bootstrap.low < found.mean < found.bootstrap.high <= 0.697
    assert found.bootstrap.high - found.bootstrap.low < found.t.high - found.t.low
    assert over_seeds(SCORES) == found
    assert "run bootstrap" in found.bootstrap.method


def test_one_run_has_no_spread_and_says_so() -> None:
    found = over_seeds([0.7])
    assert math.isnan(found.sd)
    assert math.isnan(found.t.low)
    assert "one run" in str(found.t.reason)
    assert "one run" in str(found.bootstrap.reason)


def test_runs_against_a_number_equal_the_t_test_of_r() -> None:
    found = against_baseline(SCORES, 0.6467)
    p, low, high = r_vector("one sample t")  # external: R t.test(scores, mu = 0.6467)
    assert found.p == pytest.approx(p)
    assert found.difference.value == pytest.approx(0.6944 - 0.6467)
    limits = (found.difference.low + 0.6467, found.difference.high + 0.6467)
    assert limits == pytest.approx((low, high))


def test_runs_against_runs_equal_welchs_test_of_r() -> None:
    found = against_baseline(SCORES, OTHERS)
    p, low, high = r_vector("welch t")  # external: R t.test(scores, others)
    assert (found.p, found.difference.low, found.difference.high) == pytest.approx((p, low, high))
    assert found.p == pytest.approx(stats.ttest_ind(SCORES, OTHERS, equal_var=False).pvalue)


@pytest.mark.parametrize("scores", [[0.7], [0.7, 0.7, 0.7]])
def test_a_spread_that_is_unknown_tests_nothing(scores: list[float]) -> None:
    found = against_baseline(scores, 0.6)
    assert found.difference.value == pytest.approx(0.1)
    assert math.isnan(found.p)
    assert "unknown" in str(found.reason)


def test_crossed_error_is_that_of_the_mean_squares_of_r() -> None:
    scores = np.array(SKEWED).reshape(5, 4)
    question, run, residual = r_vector("mean squares")  # external: R aov(y ~ question + run)
    found = paired_over_seeds(scores, np.zeros(5), generator())
    subtracted = min(residual, question, run)  # here the residual exceeds both: a part is kept
    squared = (question + run - subtracted) / 20
    freedom = squared**2 / (
        (question / 20) ** 2 / 4 + (run / 20) ** 2 / 3 + (subtracted / 20) ** 2 / 12
    )
    half = stats.t.isf(0.025, freedom) * math.sqrt(squared)
    assert found.difference.high - found.difference.value == pytest.approx(half)


def test_runs_that_differ_widen_what_questions_alone_would_say() -> None:
    rng = np.random.default_rng(3)
    base = rng.random(200)
    shifts = np.array([-0.1, 0.0, 0.1, 0.2])
    found = paired_over_seeds(base[:, None] + shifts + rng.normal(0, 0.01, (200, 4)), base)
    assert found.p_questions < 0.001
    assert found.p > 0.05
    assert found.difference.low < 0.0 < found.questions.low


def test_paired_seeds_hold_their_level_when_questions_and_runs_are_drawn() -> None:
    rng = np.random.default_rng(8)
    p_values = []
    for _ in range(400):
        scores = rng.normal(0, 0.3, (40, 1)) + rng.normal(0, 0.05, 5) + rng.normal(0, 0.3, (40, 5))
        p_values.append(paired_over_seeds(scores, np.zeros(40), rng).p)
    assert np.mean(np.array(p_values) < 0.05) <= 0.08


def test_one_run_pairs_by_questions_only() -> None:
    found = paired_over_seeds(np.array([[1.0], [0.0], [1.0]]), [0.0, 0.0, 0.0])
    assert math.isnan(found.p)
    assert "one run" in str(found.difference.reason)
    assert found.p_questions == 0.5


def test_variance_parts_find_the_noise_that_was_put_in() -> None:
    chances = np.random.default_rng(0).beta(2, 1, 4000)
    parts = variance_parts(runs_of(chances, 30, seed=1))
    assert parts.runs == pytest.approx(math.sqrt(np.mean(chances * (1 - chances)) / 4000), rel=0.03)
    assert parts.questions == pytest.approx(chances.std() / math.sqrt(4000), rel=0.03)
    assert parts.run_means == pytest.approx(parts.runs, rel=0.5)
    assert 0.0 < parts.share_runs < 1.0


def test_runs_that_repeat_have_no_noise_of_runs() -> None:
    parts = variance_parts(np.repeat([[1.0], [0.0], [1.0], [1.0]], 3, axis=1))
    assert (parts.runs, parts.run_means, parts.share_runs) == (0.0, 0.0, 0.0)
    assert parts.questions == pytest.approx(np.std([1, 0, 1, 1], ddof=1) / 2)
    assert math.isnan(variance_parts(np.ones((3, 2))).share_runs)


def test_the_noise_floor_reaches_over_95_of_the_differences_of_two_runs() -> None:
    chances = np.random.default_rng(0).beta(1, 1, 300)
    floor = noise_floor(runs_of(chances, 6, seed=2), generator())
    means = runs_of(chances, 4000, seed=3).mean(axis=0)
    differences = means[::2] - means[1::2]
    assert np.mean(np.abs(differences) <= floor.reach) == pytest.approx(0.95, abs=0.015)
    assert floor.sd_difference == pytest.approx(differences.std(), rel=0.06)
    assert floor.flips.value == pytest.approx(np.mean(2 * chances * (1 - chances)), abs=0.03)
    assert floor.flips.low < floor.flips.value < floor.flips.high


def test_two_runs_give_the_floor_of_their_flips() -> None:
    scores = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1]], dtype=float)
    floor = noise_floor(scores, generator())
    assert floor.flips.value == pytest.approx(2 / 5)
    assert floor.sd_difference == pytest.approx(math.sqrt(2) / 5)
    assert floor.largest == 0.0
    assert math.isnan(floor.sd_runs)


@pytest.mark.parametrize(
    "scores", [np.zeros((0, 2)), np.zeros(4), np.zeros((4, 1)), np.full((4, 2), math.nan)]
)
def test_scores_that_show_no_noise_are_refused(scores: NDArray[np.float64]) -> None:
    for estimator in (variance_parts, lambda one: noise_floor(one, generator())):
        with pytest.raises(ValueError, match=r"questions, runs|two|finite"):
            estimator(scores)


def test_seeds_of_nothing_or_of_other_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        over_seeds([])
    with pytest.raises(ValueError, match="pair"):
        paired_over_seeds(np.zeros((3, 2)), [0.0, 0.0])
