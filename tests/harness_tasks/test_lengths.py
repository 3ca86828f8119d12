from __future__ import annotations

import json

from harness_tasks.lengths import bucket_counts, summary
from tests.conftest import SHARED, needs_shared


def test_buckets_begin_at_their_lower_edge() -> None:
    lengths = [0, 1, 499, 500, 1999, 2000, 4999, 5000, 19_999, 20_000, 10**6]
    assert bucket_counts(lengths) == (1, [2, 2, 2, 2, 2])


@needs_shared
def test_the_published_buckets_come_out_of_lengths_in_their_ranges() -> None:
    golden = json.loads((SHARED / "golden" / "published.json").read_text(encoding="utf-8"))
    told = golden["think_length_buckets"]
    edges = told["edges_chars"]
    # On the edges and just below the next one: both ends of every bucket.
    lengths = [
        (low if n % 2 else high - 1)
        for low, high, count in zip(edges, [*edges[1:], 10**6], told["counts"], strict=True)
        for n in range(count)
    ]
    assert len(lengths) == told["n"]
    assert bucket_counts(lengths, edges) == (0, told["counts"])


def test_lengths_of_one_and_of_none() -> None:
    assert summary([7]) == {"n": 1, "median": 7, "mean": 7.0, "p95": 7, "max": 7}
    assert summary([]) == {"n": 0, "median": None, "mean": None, "p95": None, "max": None}
