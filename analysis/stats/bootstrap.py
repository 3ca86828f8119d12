"""Resampling of whole questions: BCa intervals of means and of smooth functions of means.

Owns the draws, the bias-corrected and accelerated limits, and what is done where those are
undefined. Refuses to own what a question's value is. Every function takes a Generator.

    interval_of_means(columns, lambda means: means[..., 0] / means[..., 1], rng)    # tokens a solve
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import Estimate, undefined
from analysis.stats.proportions import LEVEL, z_of

N_RESAMPLES = 9_999
ROWS_A_VALUE = 16  # questions a distinct value from which drawing counts of values is faster
MOST_VALUES = 500  # whose counts are drawn in under a second
DRAWN_AT_ONCE = 500_000  # so that memory does not grow with the resamples
LARGEST_N = 10_000  # questions drawn one by one; beyond, a mean is normal to two digits
ROUNDING = 1e-12  # a resampled figure this near to the estimate, as a share of the spread, is equal
TAILS = np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
Z = z_of(LEVEL)
BCA = "question bootstrap, BCa"
PERCENTILE = "question bootstrap, percentile"
NORMAL = f"jackknife, normal (n above {LARGEST_N:,})"

Floats = NDArray[np.float64]
OfMeans = Callable[[Floats], Floats]  # of (..., columns) -> (...)


class Limits(NamedTuple):
    """An interval, how it was made, and why it is not what was asked for, if it is not."""

    low: float
    high: float
    method: str
    reason: str | None = None


def resampled_means(
    columns: Floats, rng: np.random.Generator, n_resamples: int = N_RESAMPLES
) -> Floats:
    """Return the column means of resamples of the rows, (n_resamples, columns).

    Rows of few distinct values are drawn by how often each occurs, which is the same and faster.

    Raises:
        ValueError: no rows.
    """
    n = len(columns)
    if n == 0:
        raise ValueError("resampling needs at least one question, got none")
    unlike, counts = np.unique(columns, axis=0, return_counts=True)
    if few(len(unlike), n):
        drawn = rng.multinomial(n, counts / n, size=n_resamples)
        return np.asarray(drawn @ unlike / n, dtype=np.float64)
    batch = max(DRAWN_AT_ONCE // n, 1)
    means = np.empty((n_resamples, columns.shape[1]))
    for start in range(0, n_resamples, batch):
        drawn = rng.integers(0, n, size=(min(batch, n_resamples - start), n))
        for column, of_column in zip(columns.T, means.T, strict=True):
            of_column[start : start + batch] = np.take(column, drawn).mean(axis=1)
    return means


def few(n_values: int, n: int) -> bool:
    """Say whether rows have so few distinct values that their counts are drawn."""
    return n_values <= min(n / ROWS_A_VALUE, MOST_VALUES)


def interval_of_means(
    columns: Floats,
    function: OfMeans,
    rng: np.random.Generator,
    method: str = BCA,
) -> Estimate:
    """Return function(column means) with its 95% bootstrap interval; a row is a question.

    `function` takes means in the last axis and drops it; where it divides by 0 it may give inf.
    Method BCa or percentile; the second stands in, with the reason, where BCa is undefined. Beyond
    10,000 rows of many values: the normal interval with the jackknife's standard error.
    Source: Efron 1987, JASA 82:171-185 (BCa); Efron and Tibshirani 1993, chapters 13 and 14.

    Raises:
        ValueError: no rows, a value that is not finite, or another method.
    """
    array = checked(columns)
    if method not in (BCA, PERCENTILE):
        raise ValueError(f"a bootstrap interval is {BCA!r} or {PERCENTILE!r}, got {method!r}")
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(array.mean(axis=0)))
        if not math.isfinite(value):
            return undefined("the figure of these questions is not finite", method)
        if len(array) < 2:
            return Estimate(value, method=method, reason="one question: no interval")
        if not any(spread_of(column) for column in array.T):
            return Estimate(value, method=method, reason="all questions alike: no interval")
        without = np.asarray(function((array.mean(axis=0) * len(array) - array) / (len(array) - 1)))
        if len(array) > LARGEST_N and not few(len(np.unique(array, axis=0)), len(array)):
            limits = normal_limits(value, without)
        else:
            drawn = np.asarray(function(resampled_means(array, rng)))
            limits = limits_of(drawn, value, without if method == BCA else None)
    low, high, found, reason = limits
    return Estimate(value, low, high, method=found, reason=reason)


def renamed(found: Estimate, unit: str, figure: str = "") -> Estimate:
    """Return an estimate over questions as one over another unit, such as items or runs."""
    method, reason = (
        None if text is None else text.replace("question", unit)
        for text in (found.method, found.reason)
    )
    method = f"{figure}, {method}" if figure else f"{method}"
    return Estimate(found.value, found.low, found.high, method, reason)


def limits_of(drawn: Floats, value: float, without: Floats | None) -> Limits:
    """Return the BCa limits of resampled figures, or the percentile ones without a jackknife.

    `without` holds the figure without each question in turn. A resample whose figure is 0 / 0 does
    not count; equal figures count half below.
    Source: Efron and Tibshirani 1993, equations 14.9 to 14.15.
    """
    drawn = np.sort(drawn[~np.isnan(drawn)])
    if without is None:
        return percentile_limits(drawn, TAILS, None)
    finite = drawn[np.isfinite(drawn)]
    spread = float(np.ptp(finite)) if finite.size else 0.0
    below = float(np.mean(drawn < value - ROUNDING * spread))
    equal = float(np.mean(np.abs(drawn - value) <= ROUNDING * spread))
    share = below + equal / 2
    if not 0.0 < share < 1.0:
        return percentile_limits(drawn, TAILS, "BCa undefined: all resamples lie on one side")
    centred = without.mean() - without
    if not np.all(np.isfinite(centred)) or np.all(centred == 0.0):
        return percentile_limits(drawn, TAILS, "BCa undefined: no figure without some question")
    acceleration = float(np.sum(centred**3) / (6 * np.sum(centred**2) ** 1.5))
    bias = float(stats.norm.ppf(share))
    moved = bias + stats.norm.ppf(TAILS)
    stretch = 1 - acceleration * moved
    if np.any(stretch <= 0.0):
        return percentile_limits(drawn, TAILS, "BCa undefined: too skewed for so few questions")
    return percentile_limits(drawn, stats.norm.cdf(bias + moved / stretch), None)._replace(
        method=BCA
    )


def percentile_limits(drawn: Floats, tails: Floats, reason: str | None) -> Limits:
    """Return the quantiles of resampled figures; between two of them where both are finite."""
    if np.all(np.isfinite(drawn)):
        low, high = np.quantile(drawn, tails)
    else:
        low, high = np.quantile(drawn, tails, method="inverted_cdf")
    return Limits(float(low), float(high), PERCENTILE, reason)


def normal_limits(value: float, without: Floats) -> Limits:
    """Return value +- z times the jackknife's standard error.

    Source: Efron and Tibshirani 1993, equation 11.5.
    """
    n = len(without)
    error = math.sqrt((n - 1) / n * float(np.sum((without - without.mean()) ** 2)))
    return Limits(value - Z * error, value + Z * error, NORMAL)


def spread_of(array: Floats) -> float:
    """Return the standard deviation (n - 1) of two values or more; exactly 0 where all are alike.

    Alike up to rounding: three times 0.7 have a standard deviation of 1e-16, and 0.3 - 0.2 is not
    0.1, but neither is a spread to test with.
    """
    shifted = array - array[0]
    if float(np.abs(shifted).max()) <= ROUNDING * float(np.abs(array).max()):
        return 0.0
    return float(shifted.std(ddof=1))


def checked(columns: Floats) -> Floats:
    """Return the rows as an array of two axes.

    Raises:
        ValueError: no rows, or a value that is not finite.
    """
    array = np.asarray(columns, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.size == 0:
        raise ValueError("a mean over questions needs at least one question, got none")
    if not np.all(np.isfinite(array)):
        raise ValueError("question means must be finite; leave undefined questions out first")
    return array
