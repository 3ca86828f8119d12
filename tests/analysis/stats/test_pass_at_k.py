from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.stats.pass_at_k import (
    avg_at_k,
    g_pass_at_k,
    maj_at_k,
    mean_g_pass_at_k,
    pass_at_k,
)
from tests.analysis.stats.external import r_vector


def test_the_tail_equals_the_hypergeometric_of_r() -> None:
    found = [float(g_pass_at_k(10, 4, 5, least / 5)) for least in (1, 2, 3, 4)]
    assert found == pytest.approx(r_vector("hypergeometric"))  # external: R phyper


@given(st.integers(1, 70), st.data())
def test_pass_and_g_pass_agree_with_scipy(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    drawn = stats.hypergeom(n, c, k)
    assert float(pass_at_k(n, c, k)) == pytest.approx(drawn.sf(0), abs=1e-9)
    for tau in (0.25, 0.5, 0.75, 1.0):
        expected = drawn.sf(math.ceil(tau * k) - 1)
        assert float(g_pass_at_k(n, c, k, tau)) == pytest.approx(expected, abs=1e-9)


def test_pass_at_k_is_the_share_of_choices_that_hold_a_pass() -> None:
    passed = [1, 0, 0, 1, 0, 0, 0]
    for k in range(1, 8):
        choices = list(combinations(passed, k))
        expected = sum(any(choice) for choice in choices) / len(choices)
        assert float(pass_at_k(7, 2, k)) == pytest.approx(expected)


@given(st.integers(2, 60), st.data())
def test_pass_at_k_rises_with_k_and_falls_below_nothing(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(0, n))
    values = [float(pass_at_k(n, c, k)) for k in range(1, n + 1)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(c / n)
    assert values[-1] == float(c > 0)


def test_fewer_samples_than_k_are_undefined_and_not_zero() -> None:
    for value in (pass_at_k(3, 1, 4), g_pass_at_k(3, 3, 4, 1.0), avg_at_k(3, 3, 4)):
        assert math.isnan(float(value))
    assert math.isnan(maj_at_k(["1"], [1.0], k=2))
    assert math.isnan(float(avg_at_k(0, 0, 1)))
    assert math.isnan(float(pass_at_k(0, 0, 1)))


def test_questions_are_computed_side_by_side() -> None:
    found = pass_at_k([4, 4, 2, 1], [1, 0, 2, 1], 2)
    assert found.tolist()[:3] == [0.5, 0.0, 1.0]
    assert math.isnan(found[3])
    assert avg_at_k([4, 4, 1], [2.5, 0, 1], 2).tolist()[:2] == [0.625, 0.0]


def test_the_number_of_passes_is_rounded_up_without_the_error_of_floats() -> None:
    assert 0.28 * 25 > 7
    assert float(g_pass_at_k(25, 7, 25, 0.28)) == 1.0
    assert float(g_pass_at_k(25, 7, 25, 0.29)) == 0.0


@pytest.mark.parametrize(("n", "c", "k"), [(8, 5, 4), (16, 3, 8), (64, 40, 16), (10, 10, 4)])
def test_mean_g_pass_is_the_published_sum(n: int, c: int, k: int) -> None:
    published = 2 / k * sum(stats.hypergeom(n, c, k).sf(i - 1) for i in range(k // 2 + 1, k + 1))
    assert float(mean_g_pass_at_k(n, c, k)) == pytest.approx(published)


def test_mean_g_pass_of_odd_and_single_k_is_as_documented() -> None:
    assert float(mean_g_pass_at_k(4, 4, 4)) == 1.0
    assert float(mean_g_pass_at_k(5, 5, 5)) == pytest.approx(4 / 5)
    assert math.isnan(float(mean_g_pass_at_k(4, 4, 1)))


@pytest.mark.parametrize(
    ("n", "c", "k"), [(4, 5, 2), (4, -1, 2), (4, 2, 0), (4, 1.5, 2), (4, math.nan, 2), (2000, 1, 2)]
)
def test_counts_that_no_sampling_gives_are_refused(n: float, c: float, k: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.n|at least 1|whole|1000"):
        pass_at_k(n, c, k)


def test_tau_is_a_share() -> None:
    for tau in (0.0, 1.5, 50.0):
        with pytest.raises(ValueError, match=r"\(0, 1\]"):
            g_pass_at_k(4, 2, 2, tau)


def test_the_majority_answer_gives_its_score() -> None:
    assert maj_at_k(["7", "7", "9"], [1.0, 1.0, 0.0]) == 1.0
    assert maj_at_k(["7", "9", "9"], [1.0, 0.0, 0.0]) == 0.0


def test_a_tie_gives_the_mean_score_of_the_tied_answers() -> None:
    assert maj_at_k(["7", "9"], [1.0, 0.0]) == 0.5
    assert maj_at_k(["7", "9", "3", "3", "7"], [1.0, 0.0, 0.0, 0.0, 1.0]) == 0.5


def test_empty_answers_have_no_vote() -> None:
    assert maj_at_k([None, "", "  ", "7"], [0.0, 0.0, 0.0, 1.0]) == 1.0
    assert maj_at_k([None, "", "  "], [0.0, 0.0, 0.0]) == 0.0


def test_blanks_around_an_answer_make_no_other_answer() -> None:
    assert maj_at_k([" 7", "7 ", "9"], [1.0, 1.0, 0.0]) == 1.0


def brute_force(answers: list[str], scores: list[float], k: int) -> float:
    means = {
        answer: np.mean([s for a, s in zip(answers, scores, strict=True) if a == answer])
        for answer in answers
    }
    values = []
    for chosen in combinations(answers, k):
        votes = Counter(answer for answer in chosen if answer)
        most = max(votes.values(), default=0)
        won = [float(means[answer]) for answer, count in votes.items() if count == most]
        values.append(float(np.mean(won)) if won else 0.0)
    return float(np.mean(values))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["", "1", "2", "3"]), st.floats(0, 1)), min_size=1, max_size=9
    )
)
def test_fewer_votes_than_samples_give_the_mean_over_every_choice(
    given: list[tuple[str, float]],
) -> None:
    answers, scores = [answer for answer, _ in given], [score for _, score in given]
    for k in range(1, len(given) + 1):
        expected = brute_force(answers, scores, k)
        assert maj_at_k(answers, scores, k) == pytest.approx(expected, abs=1e-9)


def test_one_vote_is_the_mean_score_of_the_samples_with_an_answer() -> None:
    assert maj_at_k(["7", "9", "9", None], [1.0, 0.0, 0.0, 0.0], k=1) == pytest.approx(0.25)


def test_majorities_of_nothing_are_refused() -> None:
    for answers, scores in (([], []), (["1"], []), (["1"] * 1001, [1.0] * 1001)):
        with pytest.raises(ValueError, match="1000 answers"):
            maj_at_k(answers, scores)
    with pytest.raises(ValueError, match="at least 1"):
        maj_at_k(["1"], [1.0], k=0)
