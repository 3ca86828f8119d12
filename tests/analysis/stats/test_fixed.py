"""A mean against a fixed rate: constants from R, binom.test and t.test."""

from __future__ import annotations

import math

import pytest

from analysis.stats.fixed import BINOMIAL, ONE_SAMPLE, against_fixed


def test_single_verdicts_give_the_exact_binomial_p() -> None:
    # R: binom.test(7, 20, 0.75)$p.value
    found = against_fixed([1.0] * 7 + [0.0] * 13, 0.75)
    assert found.rule == BINOMIAL
    assert found.p == pytest.approx(0.000184, abs=5e-6)


def test_question_means_give_students_t() -> None:
    # R: t.test(c(0.5, 1, 0.75, 0.25, 1), mu = 0.5)$p.value, t = 1.3720, df = 4
    found = against_fixed([0.5, 1.0, 0.75, 0.25, 1.0], 0.5)
    assert found.rule == ONE_SAMPLE
    assert found.p == pytest.approx(0.2420, abs=5e-4)


def test_questions_alike_have_no_spread_to_test_by() -> None:
    found = against_fixed([0.5, 0.5], 0.4)
    assert math.isnan(found.p)
    assert "alike" in str(found.reason)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        against_fixed([1.0], rate)
