from __future__ import annotations

import statistics
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gaps import MAX_KEPT, Gaps


def summary(times: list[float], size: int = 10**9) -> dict[str, float] | None:
    gaps = Gaps()
    for start in range(0, len(times), size):
        gaps.pieces(times[start : start + size])
    return gaps.summary()


@pytest.mark.parametrize("times", [[], [1.0]])
def test_there_are_no_gaps_below_two_pieces(times: list[float]) -> None:
    assert summary(times) is None


def test_percentiles_are_the_nearest_rank() -> None:
    times = list(accumulate(range(1, 101), initial=0))
    assert summary([float(at) for at in times]) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert summary([0.0, 2.0]) == {"p50": 2, "p90": 2, "p99": 2, "max": 2}


@given(st.lists(st.floats(0, 10), min_size=2, max_size=50), st.integers(1, 20))
def test_how_the_pieces_are_handed_over_changes_nothing(gaps: list[float], size: int) -> None:
    times = list(accumulate(gaps, initial=5.0))
    assert summary(times, size) == summary(times)


@pytest.mark.parametrize("size", [1, 31, 10**9])
def test_long_stream_is_thinned_evenly_and_its_longest_gap_kept(size: int) -> None:
    values = [0.001 * (1 + number % 100) for number in range(50_000)]
    values[33_333] = 7.0
    times = list(accumulate(values, initial=0.0))
    gaps = Gaps()
    for start in range(0, len(times), size):
        gaps.pieces(times[start : start + size])
        assert len(gaps.kept) <= MAX_KEPT
    found = gaps.summary()
    assert found is not None
    assert found["max"] == pytest.approx(7.0)
    assert found["p50"] == pytest.approx(statistics.median(values), abs=0.01)
    assert found["p90"] == pytest.approx(0.09, abs=0.01)
    assert len(gaps.kept) > MAX_KEPT // 2
    assert gaps.n_seen == 50_000
