from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from analysis.stats.agreement import (
    cohens_kappa,
    count_ratings,
    fleiss_kappa,
    raw_agreement,
    sign_test,
    unanimous_share,
)
from tests.analysis.stats.external import r_vector

# The worked example of Fleiss 1971, table 1: 30 patients, 6 psychiatrists, 5 diagnoses.
FLEISS_1971 = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""
LETTERS = ("A", "B", "Neither")


def generator() -> np.random.Generator:
    return np.random.default_rng(1234)


def spread(counts: str) -> list[str]:
    return [str(label) for label, count in enumerate(counts) for _ in range(int(count))]


def random_ratings(n: int, judges: int) -> list[tuple[str, ...]]:
    rng = np.random.default_rng(n)
    leaning = rng.dirichlet([1.0, 1.0, 0.5], size=n)
    return [tuple(rng.choice(LETTERS, judges, p=row).tolist()) for row in leaning]


def test_cohens_kappa_and_its_interval_equal_those_of_r() -> None:
    table = [[20, 5, 3], [4, 15, 6], [2, 1, 9]]
    pairs = [
        (LETTERS[i], LETTERS[j])
        for i, row in enumerate(table)
        for j, count in enumerate(row)
        for _ in range(count)
    ]
    found = cohens_kappa([one for one, _ in pairs], [other for _, other in pairs])
    expected = r_vector("cohen")  # external: R vcd Kappa
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=1e-6)


def test_fleiss_kappa_equals_its_published_example() -> None:
    ratings = [spread(counts) for counts in FLEISS_1971.split()]
    found = fleiss_kappa(ratings, generator())
    assert found.value == pytest.approx(0.430, abs=5e-4)  # external: Fleiss 1971
    assert found.low < 0.430 < found.high
    assert "item bootstrap" in found.method


@pytest.mark.parametrize("judges", [2, 3, 5])
def test_fleiss_kappa_equals_that_of_statsmodels(judges: int) -> None:
    ratings = random_ratings(80, judges)
    counts, _ = count_ratings(ratings)
    found = fleiss_kappa(ratings, generator())
    assert found.value == pytest.approx(statsmodels_fleiss(counts, method="fleiss"))


def test_kappa_of_full_agreement_is_one() -> None:
    ratings = [("A", "A", "A"), ("B", "B", "B")] * 5
    assert fleiss_kappa(ratings, generator()).value == pytest.approx(1.0)
    assert cohens_kappa([a for a, *_ in ratings], [a for a, *_ in ratings]).value == 1.0


def test_kappa_of_one_label_is_undefined_and_not_zero_or_one() -> None:
    for found in (fleiss_kappa([("A", "A")] * 4, generator()), cohens_kappa(["A"] * 4, ["A"] * 4)):
        assert not found.defined
        assert "every rating is the same" in str(found.reason)


def test_random_judges_agree_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    ratings = [tuple(rng.choice(LETTERS, 3).tolist()) for _ in range(600)]
    found = fleiss_kappa(ratings, generator())
    assert found.low < 0.0 < found.high
    assert raw_agreement(ratings, generator()).value == pytest.approx(1 / 3, abs=0.03)


def test_raw_agreement_counts_pairs_of_judges() -> None:
    found = raw_agreement([("A", "A", "B"), ("A", "A", "A")], generator())
    assert found.value == pytest.approx((1 / 3 + 1) / 2)


def test_unanimity_counts_items() -> None:
    found = unanimous_share([("A", "A", "B"), ("A", "A", "A"), ("B", "B", "B")])
    assert found.value == pytest.approx(2 / 3)
    assert found.method == "Wilson"


@pytest.mark.parametrize("ratings", [[], [("A",)], [("A", "B"), ("A", "B", "B")]])
def test_ratings_that_are_not_all_there_are_refused(ratings: list[tuple[str, ...]]) -> None:
    for estimator in (
        unanimous_share,
        lambda rows: fleiss_kappa(rows, generator()),
        lambda rows: raw_agreement(rows, generator()),
    ):
        with pytest.raises(ValueError, match=r"at least one item|each item needs"):
            estimator(ratings)
    with pytest.raises(ValueError, match="same items"):
        cohens_kappa(["A"], ["A", "B"])


@pytest.mark.parametrize(("wins", "losses"), [(40, 22), (3, 3), (0, 9), (1, 0)])
def test_sign_test_is_the_exact_binomial(wins: int, losses: int) -> None:
    found = sign_test(wins, losses)
    expected = stats.binomtest(wins, wins + losses)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.mid_p <= found.p
    interval = expected.proportion_ci(method="exact")
    assert (found.share.low, found.share.high) == pytest.approx((interval.low, interval.high))


def test_neither_winning_shows_nothing() -> None:
    found = sign_test(0, 0)
    assert (found.p, found.mid_p) == (1.0, 1.0)
    assert math.isnan(found.share.value)
    assert found.share.reason == "neither won any"
    with pytest.raises(ValueError, match=">= 0"):
        sign_test(-1, 2)
