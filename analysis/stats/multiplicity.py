"""Several tests at once: p-values adjusted over the tests of one family.

Owns Holm's adjustment and Benjamini and Hochberg's. Refuses to own single tests (`paired`,
`cluster`), and what a family is: the tasks of one comparison, or the groups of one tag of one task.

    holm([0.01, 0.04, math.nan])       # [0.02, 0.04, nan]: a test that was not made counts for none
    benjamini_hochberg([0.01, 0.04, 0.03])     # [0.03, 0.04, 0.04]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate

from analysis.estimate import NAN


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values in the given order; NaN stays NaN and is not counted.

    Below 5% where a difference is shown with a chance of at most 5% of any false one.
    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    return adjusted(p_values, stepped_down)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return Benjamini and Hochberg's adjusted p-values; NaN stays NaN and is not counted.

    Of the differences whose value is below 5%, at most 5% are expected to be false: for a look
    over many groups, where Holm's adjustment shows little.
    Source: Benjamini and Hochberg 1995, JRSS B 57:289-300.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    return adjusted(p_values, stepped_up)


def adjusted(
    p_values: Sequence[float], adjust: Callable[[list[float]], list[float]]
) -> list[float]:
    """Return the p-values adjusted by a function of the sorted ones that were made.

    Not by statsmodels' `multipletests`, which gives the same and collects garbage at each call:
    half a second in a report with many families.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    places = [at for at, p in enumerate(p_values) if not math.isnan(p)]
    if any(not 0.0 <= p_values[at] <= 1.0 for at in places):
        raise ValueError(f"p-values must lie in [0, 1], got {list(p_values)!r}")
    places.sort(key=lambda at: p_values[at])
    values = [NAN for _ in p_values]
    for at, value in zip(places, adjust([p_values[at] for at in places]), strict=True):
        values[at] = float(value)
    return values


def stepped_down(rising: list[float]) -> list[float]:
    """Return Holm's values: each times the tests that are left, and none below the one before."""
    n = len(rising)
    return list(accumulate((min(p * (n - at), 1.0) for at, p in enumerate(rising)), max))


def stepped_up(rising: list[float]) -> list[float]:
    """Return Benjamini and Hochberg's: each times n over its rank, none above the next."""
    n = len(rising)
    scaled = [min(p * n / (at + 1), 1.0) for at, p in enumerate(rising)]
    return list(accumulate(reversed(scaled), min))[::-1]
