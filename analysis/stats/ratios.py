"""Ratios of means over questions: words per phrase, tokens per solved question, arm over arm.

Owns the interval of a function of several means that are taken over the same questions. Refuses to
own plain means (`cluster`). A ratio of means is not a mean of ratios: a question of many tokens
weighs by them, and a question without any has no ratio of its own. Takes a Generator.

    ratio([520, 80, 310], [1, 0, 1], np.random.default_rng(1234))     # 455 tokens a solved question
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from analysis.estimate import Estimate, undefined
from analysis.stats.bootstrap import resampled_means, spread_of
from analysis.stats.cluster import Floats, as_floats
from analysis.stats.power import Z_ALPHA

MOST_RESAMPLED = 5_000  # questions; with more the ratio is near normal, and resampling slow
STEP = 1e-6  # of a column's own size, for the slopes of the delta method
BOOTSTRAP = "question bootstrap of the ratio, percentile"
DELTA = "delta method, normal"

OfMeans = Callable[..., Floats]


def ratio(
    numerators: Sequence[float] | Floats,
    denominators: Sequence[float] | Floats,
    rng: np.random.Generator,
) -> Estimate:
    """Return mean(numerators) / mean(denominators) over questions with its 95% interval.

    The interval is open upwards (inf) where some resamples have nothing in the denominator.
    Undefined where the denominators are all 0.

    Raises:
        ValueError: no questions, or columns of unequal length.
    """
    return of_means((numerators, denominators), np.divide, rng)


def ratio_of_ratios(
    columns: Sequence[Sequence[float] | Floats], rng: np.random.Generator
) -> Estimate:
    """Return (mean a / mean b) / (mean c / mean d) over questions of both arms, with its interval.

    Raises:
        ValueError: no questions, or columns of unequal length.
    """
    return of_means(columns, lambda a, b, c, d: np.divide(a * d, b * c), rng)


def of_means(
    columns: Sequence[Sequence[float] | Floats], function: OfMeans, rng: np.random.Generator
) -> Estimate:
    """Return a function of the means of some columns, resampling whole questions.

    `function` takes a mean, or an array of means, for each column. Undefined where its value is.
    Source: Efron and Tibshirani 1993, chapter 13 (percentile) and section 21.4 (delta method).

    Raises:
        ValueError: no questions, or columns of unequal length.
    """
    table = np.stack([as_floats(column) for column in columns])  # (column, question)
    n = table.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(function(*table.mean(axis=1)))
        if not math.isfinite(value):
            return undefined("a denominator is 0", BOOTSTRAP)
        if n < 2:
            return Estimate(value, method=BOOTSTRAP, reason="one question: no interval")
        if not any(spread_of(column) for column in table):
            return Estimate(value, method=BOOTSTRAP, reason="all questions alike: no interval")
        if n > MOST_RESAMPLED:
            return by_delta(table, function, value)
        values = np.asarray(function(*resampled_means(table.T, rng).T))
    if np.isnan(values).any():
        return Estimate(value, method=BOOTSTRAP, reason="0 / 0 in some resamples: no interval")
    low, high = np.quantile(values, (0.025, 0.975), method="closest_observation")
    return Estimate(value, float(low), float(high), method=BOOTSTRAP)


def by_delta(table: Floats, function: OfMeans, value: float) -> Estimate:
    """Return the function of means with the interval of its linear approximation."""
    means = table.mean(axis=1)
    slopes = np.empty_like(means)
    for i, mean in enumerate(means):
        step = np.zeros_like(means)
        step[i] = STEP * (abs(mean) or 1.0)
        slopes[i] = (function(*(means + step)) - function(*(means - step))) / (2 * step[i])
    spread = math.sqrt(float(slopes @ np.cov(table) @ slopes) / table.shape[1])
    return Estimate(value, value - Z_ALPHA * spread, value + Z_ALPHA * spread, method=DELTA)
