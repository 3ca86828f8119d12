"""The optimism of a choice, against simulation: the truth is known there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.stats.selection import optimism_of_counts, out_of_bag


def test_one_candidate_has_no_optimism() -> None:
    assert optimism_of_counts(0.7, [100]).value == pytest.approx(0, abs=1e-12)


def test_expected_best_of_two_is_that_of_the_enumeration() -> None:
    n, rate = 5, 0.3
    chance = stats.binom.pmf(np.arange(n + 1), n, rate)
    expected = sum(
        chance[a] * chance[b] * max(a, b) / n for a in range(n + 1) for b in range(n + 1)
    )
    assert optimism_of_counts(rate, [n, n]).value == pytest.approx(expected - rate)


def test_expected_best_of_unlike_sizes_is_that_of_a_simulation() -> None:
    rng = np.random.default_rng(3)
    sizes = [30, 50, 200]
    drawn = np.max([rng.binomial(n, 0.6, 200_000) / n for n in sizes], axis=0)
    assert optimism_of_counts(0.6, sizes).value == pytest.approx(drawn.mean() - 0.6, abs=5e-4)


@pytest.mark.parametrize(("rate", "sizes"), [(1.2, [5]), (0.5, []), (0.5, [0])])
def test_what_cannot_be_is_refused(rate: float, sizes: list[int]) -> None:
    with pytest.raises(ValueError, match="got"):
        optimism_of_counts(rate, sizes)


def test_the_corrected_score_of_equal_candidates_is_their_common_rate_on_average() -> None:
    rng = np.random.default_rng(7)
    apparent, corrected = [], []
    for _ in range(60):
        scores = (rng.random((60, 5)) < 0.5).astype(float)
        picked = out_of_bag(scores, rng)
        apparent.append(scores.mean(axis=0).max())
        corrected.append(picked.corrected.value)
        assert picked.optimism.value == pytest.approx(apparent[-1] - corrected[-1])
    error = np.std(corrected) / np.sqrt(len(corrected))
    assert np.mean(apparent) > 0.55
    assert abs(np.mean(corrected) - 0.5) < 4 * error


def test_a_candidate_far_ahead_is_always_picked_and_hardly_flattered() -> None:
    scores = np.zeros((200, 3))
    scores[:, 1] = 1.0
    scores[::10, 1] = 0.0
    picked = out_of_bag(scores, np.random.default_rng(1), scores[:, 0])
    assert picked.shares == (0.0, 1.0, 0.0)
    assert abs(picked.optimism.value) < 0.005
    assert picked.gain.value == pytest.approx(picked.corrected.value)


def test_of_equal_candidates_the_first_is_picked() -> None:
    column = (np.arange(40) % 2).astype(float)
    picked = out_of_bag(np.stack([column, column], axis=1), np.random.default_rng(1))
    assert picked.shares == (1.0, 0.0)


def test_one_question_leaves_nothing_to_score_by() -> None:
    picked = out_of_bag(np.ones((1, 2)), np.random.default_rng(1))
    assert not picked.corrected.defined
    assert "fewer than two questions" in str(picked.corrected.reason)


def test_the_same_seed_gives_the_same_figures() -> None:
    scores = (np.random.default_rng(2).random((50, 4)) < 0.5).astype(float)
    first, second = (out_of_bag(scores, np.random.default_rng(9)) for _ in range(2))
    assert first == second
