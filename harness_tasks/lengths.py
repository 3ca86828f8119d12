"""Lengths of traces and of anything else: median, mean, p95, and buckets by characters.

Owns these figures, for training's reports and for analysis alike. Refuses to own what is measured.
Standard library only.

Buckets go by their lower edge: 500 is in the one that begins at 500, and what is below the first
edge (no reasoning at all) is counted apart.

Example: `bucket_counts([0, 499, 500, 30_000])` is `(1, [1, 1, 0, 0, 1])`.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Sequence

EDGES_CHARS = (1, 500, 2000, 5000, 20_000)


def summary(values: Sequence[int]) -> dict[str, float | int | None]:
    """Return n, median, mean, p95 (between neighbours, as numpy does it) and the largest."""
    if not values:
        return {"n": 0, "median": None, "mean": None, "p95": None, "max": None}
    p95 = (
        statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    )
    return {
        "n": len(values),
        "median": statistics.median(values),
        "mean": statistics.fmean(values),
        "p95": p95,
        "max": max(values),
    }


def bucket_counts(
    lengths: Sequence[int], edges: Sequence[int] = EDGES_CHARS
) -> tuple[int, list[int]]:
    """Return how many lie below the first edge, and how many from each edge to the next."""
    counts = [0] * (len(edges) + 1)
    for length in lengths:
        counts[bisect_right(edges, length)] += 1
    return counts[0], counts[1:]
