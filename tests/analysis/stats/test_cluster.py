from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.api import OLS

from analysis.stats.bootstrap import PERCENTILE
from analysis.stats.cluster import (
    bootstrap_difference,
    bootstrap_mean,
    clustered_mean,
    clustered_se,
    detectable_mean_difference,
    power_of_mean,
    sign_flip_p,
)
from analysis.stats.paired import PairedTable, mcnemar
from analysis.stats.proportions import clopper_pearson
from tests.analysis.stats.external import r_value
from tests.analysis.stats.test_bootstrap import SKEWED


def generator() -> np.random.Generator:
    return np.random.default_rng(1234)


@pytest.mark.parametrize(("b", "c"), [(0, 5), (2, 8), (1, 3), (6, 6)])
def test_sign_flips_of_single_samples_are_mcnemars_exact_test(b: int, c: int) -> None:
    differences = [1.0] * b + [-1.0] * c + [0.0] * 20
    expected = mcnemar(PairedTable(10, b, c, 10)).exact_p
    assert sign_flip_p(differences, generator()) == pytest.approx(expected)


def test_random_sign_flips_come_near_the_exact_p() -> None:
    differences = [math.sqrt(2)] * 12 + [-math.sqrt(2)] * 25  # multiples of no fraction
    expected = stats.binomtest(12, 37, 0.5).pvalue
    assert sign_flip_p(differences, generator()) == pytest.approx(expected, abs=0.01)


def test_the_same_seed_gives_the_same_p() -> None:
    differences = math.sqrt(2) * np.linspace(-0.4, 1.0, 50)
    assert sign_flip_p(differences, generator()) == sign_flip_p(differences, generator())


def test_no_difference_anywhere_gives_p_one() -> None:
    assert sign_flip_p([0.0] * 30, generator()) == 1.0


def test_sign_flips_hold_their_level_under_the_null() -> None:
    rng = np.random.default_rng(7)
    p_values = [sign_flip_p(rng.integers(-2, 3, 9) / 2, rng) for _ in range(300)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.08


def test_bootstrap_interval_comes_near_the_normal_one() -> None:
    values = np.random.default_rng(3).normal(0.1, 0.5, 400)
    found = bootstrap_mean(values, generator())
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    expected = (values.mean() - half, values.mean() + half)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.01)


def test_copies_of_a_sample_do_not_narrow_the_interval() -> None:
    questions = np.random.default_rng(3).integers(0, 2, 60).astype(float)
    one = bootstrap_mean(questions, generator())
    copies = np.repeat(questions, 8).reshape(60, 8).mean(axis=1)
    assert bootstrap_mean(copies, generator()) == one


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_bootstrap_interval_stays_within_the_values(values: list[float]) -> None:
    found = bootstrap_mean(values, generator())
    assert found.value == pytest.approx(np.mean(values))
    if not math.isnan(found.low):
        assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_one_question_has_no_interval_and_says_why() -> None:
    found = bootstrap_mean([0.5], generator())
    assert math.isnan(found.low)
    assert found.reason == "one question: no interval"


@pytest.mark.parametrize("values", [[], [math.nan, 1.0]])
def test_no_questions_or_undefined_ones_are_refused(values: list[float]) -> None:
    for estimator in (sign_flip_p, bootstrap_mean):
        with pytest.raises(ValueError, match=r"at least one|finite"):
            estimator(values, generator())


def test_the_detectable_mean_difference_has_the_stated_power() -> None:
    values = np.random.default_rng(5).normal(0, 0.5, 200)
    delta = detectable_mean_difference(values).value
    noncentrality = delta / (values.std(ddof=1) / math.sqrt(200))
    power = stats.norm.sf(1.959964 - noncentrality) + stats.norm.cdf(-1.959964 - noncentrality)
    assert power == pytest.approx(0.80, abs=1e-4)


def test_the_power_of_a_mean_is_the_inverse_of_what_it_detects() -> None:
    values = np.random.default_rng(5).normal(0, 0.5, 200)
    detected = detectable_mean_difference(values).value
    assert power_of_mean(values, detected).value == pytest.approx(0.8)
    assert power_of_mean(values, -detected).value == pytest.approx(0.8)
    assert not power_of_mean([0.5] * 9, 0.1).defined


def test_five_questions_detect_nothing() -> None:
    found = detectable_mean_difference([0.5, 0.25, 0.5, 0.5, 0.5])
    assert found.reason == "n=5 is too small to show any difference"


def test_the_interval_of_a_difference_does_not_exclude_0_on_one_questions_word() -> None:
    moved = [0.0] * 29 + [0.5]
    assert bootstrap_mean(moved, generator()).low == 0.0
    found = bootstrap_difference(moved, generator())
    assert (found.low, found.high) == (-clopper_pearson(0, 30)[1], clopper_pearson(1, 30)[1])
    equal = bootstrap_difference([0.0] * 30, generator())
    assert (equal.value, equal.low, equal.high) == (0.0, found.low, -found.low)
    with pytest.raises(ValueError, match=r"lie in \[-1, 1\]"):
        bootstrap_difference([0.0, 2.0], generator())


def test_where_few_questions_differ_the_interval_is_no_shorter_than_t() -> None:
    moved = [0.0] * 24 + [0.25] * 4 + [-1.0] * 2
    found = bootstrap_difference(moved, generator())
    low, high = stats.t.interval(0.95, 29, np.mean(moved), stats.sem(moved))
    assert found.low <= low
    assert found.high == pytest.approx(high)
    assert "no shorter than t" in found.method


def test_where_many_questions_differ_the_interval_is_bca() -> None:
    values = np.random.default_rng(5).normal(0.1, 0.5, 80)
    assert bootstrap_difference(values, generator()) == bootstrap_mean(values, generator())


def test_the_interval_of_a_difference_covers_where_few_questions_differ() -> None:
    drawn, covered = np.random.default_rng(8), np.zeros(2)
    for _ in range(150):
        chance = drawn.beta(0.9, 0.1, 30)
        values = (drawn.binomial(4, chance) - drawn.binomial(4, chance)) / 4
        for at, method in enumerate((bootstrap_mean, bootstrap_difference)):
            found = method(values, generator())
            covered[at] += found.low <= 0.0 <= found.high
    assert covered[0] < 140 < covered[1]


def test_a_clustered_interval_of_scores_ends_where_scores_do() -> None:
    found = clustered_mean([1.0, 1.0, 0.0, 0.0, 1.0], "aabbc", bounds=(0.0, 1.0))
    assert (found.low, found.high) == (0.0, 1.0)
    assert clustered_mean([1.0, 1.0, 0.0, 0.0, 1.0], "aabbc").high > 1.0


def test_equal_questions_have_no_interval() -> None:
    found = bootstrap_mean([0.5] * 8, generator())
    assert math.isnan(found.low)
    assert found.reason == "all questions alike: no interval"
    assert clustered_mean([0.5] * 8, range(8)).reason == "no spread among the clusters: no interval"


@pytest.mark.parametrize("values", [[0.5], [0.25] * 7])
def test_a_spread_that_is_unknown_detects_nothing(values: list[float]) -> None:
    found = detectable_mean_difference(values)
    assert not found.defined
    assert "unknown" in str(found.reason)


def test_one_question_that_differs_shows_nothing() -> None:
    assert sign_flip_p([0.0, 0.5, 0.0], generator()) == 1.0
    assert sign_flip_p([1.0], generator()) == 1.0


@settings(max_examples=60)
@given(st.integers(1, 64), st.lists(st.integers(-64, 64), min_size=2, max_size=9))
def test_the_exact_sign_flip_p_counts_every_pattern(k: int, counts: list[int]) -> None:
    sums = [
        abs(sum(sign * count for sign, count in zip(signs, counts, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(counts))
    ]
    expected = sum(one >= abs(sum(counts)) for one in sums) / len(sums)
    found = sign_flip_p([count / k for count in counts], generator())
    assert found == pytest.approx(expected)


def test_copies_of_single_samples_give_the_p_of_single_samples() -> None:
    differences = [1.0] * 70 + [-1.0] * 30
    expected = stats.binomtest(30, 100, 0.5).pvalue  # beyond what random flips resolve
    assert sign_flip_p(differences, generator()) == pytest.approx(expected)


CLUSTERS = [cluster for cluster, size in enumerate((1, 2, 3, 4, 4, 6)) for _ in range(size)]


def test_clustered_error_equals_that_of_r_and_statsmodels() -> None:
    found = clustered_se(SKEWED, CLUSTERS)
    assert found == pytest.approx(r_value("clustered se"))  # external: R sandwich vcovCL
    fitted = OLS(SKEWED, np.ones(len(SKEWED))).fit(
        cov_type="cluster", cov_kwds={"groups": np.array(CLUSTERS)}
    )
    assert found == pytest.approx(fitted.bse[0])


def test_clusters_of_one_value_give_the_plain_error() -> None:
    assert clustered_se(SKEWED, range(20)) == pytest.approx(stats.sem(SKEWED))


def test_copies_of_a_value_count_as_one_cluster() -> None:
    copies = np.repeat(SKEWED, 4)
    names = [f"question {number}" for number in range(20) for _ in range(4)]
    assert clustered_se(copies, names) == pytest.approx(clustered_se(SKEWED, range(20)))
    assert clustered_mean(copies, names).high == pytest.approx(
        stats.t.interval(0.95, 19, np.mean(SKEWED), stats.sem(SKEWED))[1]
    )


def test_one_cluster_has_no_error() -> None:
    assert math.isnan(clustered_se([1.0, 0.0], ["a", "a"]))
    assert clustered_mean([1.0, 0.0], ["a", "a"]).reason == "one cluster: no interval"
    with pytest.raises(ValueError, match="its cluster"):
        clustered_se([1.0], [])


def test_sign_flips_of_few_differences_equal_the_exact_test_of_r() -> None:
    values = [0.31, -0.12, 0.44, 0.07, -0.2, 0.53, 0.18, 0.29, -0.05]
    expected = r_value("sign flips")  # external: R coin symmetry_test, exact
    assert sign_flip_p(values, generator()) == pytest.approx(expected)
    stretched = math.sqrt(2) * np.array(values)  # no multiples of a fraction: patterns are listed
    assert sign_flip_p(stretched, generator()) == pytest.approx(expected)


def test_random_sign_flips_come_near_those_of_scipy() -> None:
    values = np.random.default_rng(2).normal(0.08, 0.5, 120)
    expected = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        n_resamples=20_000,
        vectorized=True,
        rng=generator(),
    ).pvalue
    assert sign_flip_p(values, generator()) == pytest.approx(expected, abs=0.015)


def test_a_random_p_is_never_zero() -> None:
    assert sign_flip_p(math.sqrt(2) + np.linspace(0, 1, 40), generator()) == 1 / 10_000


def test_the_percentile_interval_is_still_to_be_had() -> None:
    values = np.random.default_rng(3).lognormal(size=200)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=9_999, batch=512, rng=generator()
    ).confidence_interval
    found = bootstrap_mean(values, generator(), PERCENTILE)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), rel=3e-3)
    assert bootstrap_mean(values, generator()).low > found.low  # BCa follows the skew
