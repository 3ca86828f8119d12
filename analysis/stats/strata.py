"""Several tasks at once: the mean of their mean differences, each task counting alike.

Owns the macro mean over strata, its interval and its test. A stratum is one task: its questions are
resampled and flipped within it, since tasks are chosen and questions are drawn. Refuses to own
single tasks (`paired`, `cluster`). Every random routine takes a Generator.

    macro_mean([[0, 1, 1, 0], [1, 0, -1]], np.random.default_rng(1234))      # 0.25
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.estimate import Estimate, undefined
from analysis.stats.bootstrap import N_RESAMPLES, resampled_means
from analysis.stats.cluster import SIGNS_AT_ONCE, Floats, as_floats, random_bits, sign_flip_p
from analysis.stats.power import Z_ALPHA, Z_POWER

N_FLIPS = 99_999  # so that p is at least 0.00001
MOST_STEPS = 200  # distinct sizes of differences up to which signs are drawn by their counts
ROUNDING = 1e-12
BOOTSTRAP = "stratified question bootstrap, rescaled, percentile"
SIGN_FLIP = "stratified paired sign-flip permutation"

Strata = Sequence[Sequence[float] | Floats]


def macro_mean(strata: Strata, rng: np.random.Generator) -> Estimate:
    """Return the mean of the strata's means with its 95% bootstrap interval, within [-1, 1].

    Whole questions are resampled within their stratum; each deviation is stretched by
    sqrt(n / (n - 1)), as the spread among n resampled questions is too small by that.
    Source: Efron and Tibshirani 1993, chapter 13 (percentile); Rao and Wu 1988, JASA 83:231-241
    (rescaling within strata).

    Raises:
        ValueError: no stratum, or one without questions.
    """
    arrays = checked(strata)
    mean = float(np.mean([array.mean() for array in arrays]))
    if any(array.size < 2 for array in arrays):
        return Estimate(mean, method=BOOTSTRAP, reason="a task of one question: no interval")
    means = np.zeros(N_RESAMPLES)
    for array in arrays:
        stretch = math.sqrt(array.size / (array.size - 1))
        drawn = resampled_means(array[:, None], rng)[:, 0]
        means += array.mean() + stretch * (drawn - array.mean())
    low, high = np.quantile(means / len(arrays), (0.025, 0.975))
    return Estimate(mean, max(float(low), -1.0), min(float(high), 1.0), method=BOOTSTRAP)


def macro_sign_flip_p(strata: Strata, rng: np.random.Generator) -> float:
    """Return the two-sided p that each question's difference is as likely with the other sign.

    The statistic is the macro mean; 99,999 random patterns (9,999 where the differences have more
    than 200 sizes) with the observed one counted in. One stratum is tested by `sign_flip_p`, which
    is exact for verdicts. 1 where fewer than two are not zero.
    Source: Fisher 1935, section 21; Phipson and Smyth 2010 (the observed pattern counted in).

    Raises:
        ValueError: no stratum, or one without questions.
    """
    arrays = checked(strata)
    if len(arrays) == 1:
        return sign_flip_p(arrays[0], rng)
    weighted = np.concatenate([array / (array.size * len(arrays)) for array in arrays])
    moved = weighted[weighted != 0.0]
    if moved.size < 2:
        return 1.0
    sums = flipped_sums(moved, rng)
    as_far = np.abs(sums) >= abs(float(moved.sum())) - ROUNDING
    return float((1 + as_far.sum()) / (sums.size + 1))


def flipped_sums(moved: Floats, rng: np.random.Generator) -> Floats:
    """Return sums of values under random signs; few distinct sizes are drawn by their counts."""
    steps, counts = np.unique(np.abs(moved), return_counts=True)
    if steps.size <= MOST_STEPS:
        sums = np.zeros(N_FLIPS)
        for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
            sums += step * (2.0 * rng.binomial(count, 0.5, size=N_FLIPS) - count)
        return sums
    batch = max(SIGNS_AT_ONCE // moved.size, 1)
    sizes = [min(batch, N_RESAMPLES - start) for start in range(0, N_RESAMPLES, batch)]
    drawn = [(2.0 * random_bits((size, moved.size), rng) - 1.0) @ moved for size in sizes]
    return np.concatenate(drawn)


def detectable_macro_difference(strata: Strata) -> Estimate:
    """Return the smallest true macro mean shown with 80% power, from the observed spreads.

    (z_0.975 + z_0.8) times the standard error, sqrt(sum of var / n) over the number of strata.
    Source: Miller 2024, arXiv:2411.00640, section 5; Cochran 1977, section 5.3 (strata).

    Raises:
        ValueError: no stratum, or one without questions.
    """
    arrays = checked(strata)
    method = "mean of task differences, two-sided 5%, power 80%"
    if any(array.size < 2 for array in arrays):
        return undefined("a task of one question: its spread is unknown", method)
    variance = sum(float(array.var(ddof=1)) / array.size for array in arrays)
    if variance == 0.0:
        return undefined("all question differences are alike: their spread is unknown", method)
    return Estimate((Z_ALPHA + Z_POWER) * math.sqrt(variance) / len(arrays), method=method)


def checked(strata: Strata) -> list[Floats]:
    """Return the strata as arrays.

    Raises:
        ValueError: no stratum, or one without questions.
    """
    if not strata:
        raise ValueError("a mean over tasks needs at least one task, got none")
    return [as_floats(one) for one in strata]
