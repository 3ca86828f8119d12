"""Win rates at equal length against R's `glm` (external), and where there is none."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from analysis.stats.lengths import at_equal_length

REFERENCE = Path(__file__).parent / "reference" / "lengths.csv"  # external: by lengths.R beside it
CASES = list(csv.DictReader(REFERENCE.read_text(encoding="utf-8").splitlines()))


def numbers(text: str) -> list[float]:
    return [float(one) for one in text.split()]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_regression_is_that_of_r(case: dict[str, str]) -> None:
    found = at_equal_length(numbers(case["x"]), [y == 1 for y in numbers(case["y"])])
    for name, estimate in (("rate", found.win_rate), ("slope", found.slope)):
        made = [estimate.value, estimate.low, estimate.high]
        wanted = [float(case[key]) for key in (name, f"{name}_low", f"{name}_high")]
        assert made == pytest.approx(wanted, rel=1e-6)
    assert found.p == pytest.approx(float(case["p"]), rel=1e-6)


def test_a_preference_that_only_follows_length_is_even_at_equal_length() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(1.0, 1.0, 2000)  # the text is mostly the longer one, and so wins mostly
    wins = rng.random(2000) < 1 / (1 + np.exp(-1.5 * x))
    found = at_equal_length(x.tolist(), wins.tolist())
    assert wins.mean() > 0.7
    assert found.win_rate.low < 0.5 < found.win_rate.high
    assert found.slope.low > 1


@pytest.mark.parametrize(
    ("ratios", "wins", "reason"),
    [
        ([0.5, -1.0, 2.0], [True, True, True], "one side won all"),
        ([0.0, 0.0, 0.0], [True, False, True], "all ratios of lengths are alike"),
        ([-1.0, -0.5, 0.5, 1.0], [False, False, True, True], "relatively longer text always won"),
        ([-1.0, 0.5, 0.5, 1.0], [False, False, True, True], "relatively longer text always won"),
        ([-1.0, -0.5, 0.5, 1.0], [True, True, False, False], "relatively shorter text always won"),
    ],
)
def test_where_no_finite_estimate_exists_the_reason_is_told(
    ratios: list[float], wins: list[bool], reason: str
) -> None:
    found = at_equal_length(ratios, wins)
    assert not found.win_rate.defined
    assert math.isnan(found.p)
    assert reason in str(found.win_rate.reason)


def test_a_rate_beyond_the_data_says_so() -> None:
    found = at_equal_length([0.5, 1, 1.5, 2, 2.5, 3], [False, True, False, True, True, False])
    assert "extrapolated" in found.win_rate.method


def test_copies_of_a_question_make_no_surer() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=100)
    wins = rng.random(100) < 1 / (1 + np.exp(-x))
    once = at_equal_length(x.tolist(), wins.tolist(), clusters=list(range(100)))
    copies = at_equal_length(
        np.repeat(x, 4).tolist(), np.repeat(wins, 4).tolist(), clusters=[i // 4 for i in range(400)]
    )
    naive = at_equal_length(np.repeat(x, 4).tolist(), np.repeat(wins, 4).tolist())
    width, wide = (one.win_rate.high - one.win_rate.low for one in (once, copies))
    assert wide == pytest.approx(width, rel=0.15)
    assert naive.win_rate.high - naive.win_rate.low < 0.6 * wide


@pytest.mark.parametrize(
    ("ratios", "wins"), [([], []), ([1.0], [True, False]), ([math.inf, 1.0], [True, False])]
)
def test_what_is_no_comparison_is_refused(ratios: list[float], wins: list[bool]) -> None:
    with pytest.raises(ValueError, match="length"):
        at_equal_length(ratios, wins)
