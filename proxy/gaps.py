"""The time between the pieces of a stream, summed up in four numbers.

Owns the percentiles and the bound on what is kept for them. Refuses to own which pieces count
(recorder).

    >>> gaps = Gaps()
    >>> gaps.pieces([1.0, 1.5, 1.75, 3.75])
    >>> gaps.summary()
    {'p50': 0.5, 'p90': 2.0, 'p99': 2.0, 'max': 2.0}

A percentile is the nearest rank: the smallest gap that at least p percent of the gaps do not
exceed, so always one that occurred. Up to 4,096 gaps they are exact. Of a longer stream every
second gap, then every fourth and so on is kept, 2,048 to 4,096 in all, spread evenly over the
stream; `max` stays exact.
"""

from __future__ import annotations

from array import array
from itertools import pairwise

MAX_KEPT = 4096
PERCENTS = (50, 90, 99)


class Gaps:
    """Takes the arrival times of the pieces in their order."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.kept = array("d")
        self.n_seen = 0
        self.stride = 1
        self.longest = 0.0

    def pieces(self, times: list[float]) -> None:
        """Note when pieces arrived, in seconds of any clock that does not go back."""
        if not times:
            return
        if self.last is not None:
            times = [self.last, *times]
        self.last = times[-1]
        gaps = [late - early for early, late in pairwise(times)]
        self.longest = max(self.longest, max(gaps, default=0.0))
        self.kept.extend(gaps[-self.n_seen % self.stride :: self.stride])
        self.n_seen += len(gaps)
        while len(self.kept) > MAX_KEPT:
            del self.kept[1::2]
            self.stride *= 2

    def summary(self) -> dict[str, float] | None:
        """Return the percentiles and the longest gap; None below two pieces."""
        ordered = sorted(self.kept)
        if not ordered:
            return None
        ranks = {f"p{percent}": -(-percent * len(ordered) // 100) for percent in PERCENTS}
        found = {name: round(ordered[rank - 1], 6) for name, rank in ranks.items()}
        found["max"] = round(self.longest, 6)
        return found
