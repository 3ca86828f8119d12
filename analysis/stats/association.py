"""Two figures of the same things: rank correlation, quadrants, and a trend over ordered levels.

Owns Spearman's rho, the quadrant table with Fisher's test, Cochran and Armitage's trend, and the
trend of paired scores. Refuses to own causes: topics trained on and topics improved may share one.
Every random routine takes a Generator.

    spearman([12, 3, 40, 8], [0.02, -0.01, 0.10, 0.00], np.random.default_rng(1234))
    quadrants(examples, gains, x_cut="median", y_cut=0.0)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import NAN, Estimate, undefined
from analysis.stats.bootstrap import N_RESAMPLES, ROUNDING, renamed
from analysis.stats.cluster import as_floats, bootstrap_mean
from analysis.stats.paired import SMALLEST_P
from analysis.stats.proportions import z_of

EXACT_UP_TO = 8  # pairs whose 40,320 orders are all counted
MOST_PERMUTED = 5_000  # pairs; with more, random orders take seconds and say what t says
MOST_LEVELS = 7  # levels whose 5,040 orders are all listed
DRAWN_AT_ONCE = 1_000_000
SPEARMAN = "Spearman's rho, Fisher z with Bonett and Wright's error"
SLOPE = "mean slope within questions"

Floats = NDArray[np.float64]
Values = Sequence[float] | Floats


class Correlation(NamedTuple):
    """A rank correlation and its two-sided permutation p; `rule` says exact or random."""

    rho: Estimate
    p: float
    rule: str


class Quadrants(NamedTuple):
    """Counts of pairs by whether x, and then y, is above its cut, and Fisher's p.

    `high_low`: x above its cut, y not above. `p`: that the two have nothing to do with each other.
    """

    high_high: int
    low_high: int
    high_low: int
    low_low: int
    x_cut: float
    y_cut: float
    p: float
    odds_ratio: float  # the sample's; NaN for 0 / 0, inf where a denominator is 0


class Trend(NamedTuple):
    """A change with the level: per unit of x, and the two-sided p that there is none."""

    slope: Estimate
    p: float
    method: str


def spearman(x: Values, y: Values, rng: np.random.Generator) -> Correlation:
    """Return Spearman's rho with its interval and permutation p; undefined where one is constant.

    Every order is counted up to 8 pairs; else 9,999 random ones with the observed counted in, and
    above 5,000 pairs the p is that of Student's t.
    Ties share their mean rank. No interval below 4 pairs, or where rho is +-1.
    Source: Spearman 1904; Bonett and Wright 2000, Psychometrika 65:23-28 (interval).

    Raises:
        ValueError: no pairs, unlike numbers of them, or a value that is not finite.
    """
    first, second = paired_values(x, y)
    n = first.size
    if n < 2 or np.all(first == first[0]) or np.all(second == second[0]):
        why = "one pair" if n < 2 else "one of the two is constant"
        return Correlation(undefined(f"{why}: no correlation", SPEARMAN), NAN, "none")
    one, other = (stats.rankdata(array) - (n + 1) / 2 for array in (first, second))
    size = math.sqrt(float(one @ one) * float(other @ other))
    rho = max(min(float(one @ other) / size, 1.0), -1.0)
    observed = abs(rho) * (1 - ROUNDING)
    if n <= EXACT_UP_TO:
        orders = np.array(list(permutations(range(n))))
        p = float(np.mean(np.abs(one[orders] @ other) / size >= observed))
        return Correlation(rho_interval(rho, n), p, "exact permutation")
    if n > MOST_PERMUTED:
        p = max(float(stats.spearmanr(first, second).pvalue), SMALLEST_P)
        return Correlation(rho_interval(rho, n), p, "t approximation")
    as_far = sum(
        int(
            np.sum(np.abs(rng.permuted(np.tile(one, (rows, 1)), axis=1) @ other) / size >= observed)
        )
        for rows in batches(N_RESAMPLES, n)
    )
    p = (as_far + 1) / (N_RESAMPLES + 1)
    return Correlation(rho_interval(rho, n), p, f"{N_RESAMPLES:,} random permutations")


def rho_interval(rho: float, n: int) -> Estimate:
    """Return rho with its interval by Fisher's z."""
    if n < 4 or abs(rho) >= 1.0 - ROUNDING:
        reason = "fewer than four pairs" if n < 4 else "complete correlation"
        return Estimate(rho, method=SPEARMAN, reason=f"{reason}: no interval")
    half = z_of(0.95) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    return Estimate(rho, low, high, method=SPEARMAN)


def batches(n_rows: int, width: int) -> list[int]:
    """Return how many rows of a width to draw at once, until all are drawn."""
    most = max(DRAWN_AT_ONCE // width, 1)
    return [min(most, n_rows - start) for start in range(0, n_rows, most)]


def quadrants(
    x: Values,
    y: Values,
    x_cut: float | Literal["median"] = "median",
    y_cut: float | Literal["median"] = 0.0,
) -> Quadrants:
    """Count pairs by whether each value is above its cut (equal to it is not above).

    Source: Fisher 1935 (exact test of the 2x2 table), through scipy `fisher_exact`.

    Raises:
        ValueError: no pairs, unlike numbers of them, or a value that is not finite.
    """
    first, second = paired_values(x, y)
    across = float(np.median(first)) if x_cut == "median" else float(x_cut)
    up = float(np.median(second)) if y_cut == "median" else float(y_cut)
    return quadrants_of(first > across, second > up, (across, up))


def quadrants_of(
    x_high: Sequence[bool] | NDArray[np.bool_],
    y_high: Sequence[bool] | NDArray[np.bool_],
    cuts: tuple[float, float] = (NAN, NAN),
) -> Quadrants:
    """Count pairs that were cut before."""
    pairs = [(bool(a), bool(b)) for a, b in zip(x_high, y_high, strict=True)]
    high_high, low_high = pairs.count((True, True)), pairs.count((False, True))
    high_low, low_low = pairs.count((True, False)), pairs.count((False, False))
    p = float(stats.fisher_exact([[high_high, high_low], [low_high, low_low]]).pvalue)
    over, under = high_high * low_low, high_low * low_high
    odds = over / under if under else (math.inf if over else NAN)
    return Quadrants(high_high, low_high, high_low, low_low, *cuts, min(p, 1.0), odds)


def trend(x: Values, k: Sequence[int], n: Sequence[int]) -> Trend:
    """Test whether the shares k / n rise or fall with x, the groups being of unlike questions.

    The slope is that of the weighted least squares line. Undefined where all or none succeed.
    Source: Cochran 1954; Armitage 1955, Biometrics 11:375-386; R `prop.trend.test`.

    Raises:
        ValueError: fewer than two levels, unlike numbers of them, or k outside 0..n.
    """
    levels, solved, sizes = as_floats(x), as_floats(k), as_floats(n)
    method = "Cochran-Armitage"
    if not levels.size == solved.size == sizes.size or levels.size < 2:
        raise ValueError("a trend needs k and n of two levels of x at least")
    if np.any(solved < 0) or np.any(solved > sizes) or float(sizes.sum()) == 0.0:
        raise ValueError("k must lie in 0..n at each level, and some n above 0")
    total, rate = float(sizes.sum()), float(solved.sum() / sizes.sum())
    centred = levels - float(sizes @ levels) / total
    spread = float(sizes @ centred**2)
    if spread == 0.0 or rate in (0.0, 1.0):
        why = "one level only" if spread == 0.0 else "all succeed, or none"
        return Trend(undefined(f"{why}: no trend", method), NAN, method)
    slope, error = float(centred @ solved) / spread, math.sqrt(rate * (1 - rate) / spread)
    p = max(float(2 * stats.norm.sf(abs(slope) / error)), SMALLEST_P)
    half = z_of(0.95) * error
    return Trend(Estimate(slope, slope - half, slope + half, method), p, method)


def paired_trend(x: Values, scores: Floats, rng: np.random.Generator) -> Trend:
    """Test whether scores rise or fall with x, the same questions being asked at each level.

    `scores` is (questions, levels). The levels of each question are permuted: 9,999 times up to 7
    levels, beyond that by the normal approximation with the permutations' exact variance.
    Source: Page 1963, JASA 58:216-230, with the levels' own values and scores in place of ranks.

    Raises:
        ValueError: no questions, fewer than two levels, another number of them than of x.
    """
    levels, matrix = as_floats(x), np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != levels.size or levels.size < 2 or not len(matrix):
        raise ValueError(f"scores must be (questions, {levels.size} levels), got {matrix.shape!r}")
    centred = levels - levels.mean()
    spread = float(centred @ centred)
    if spread == 0.0:
        return Trend(undefined("one level only: no trend", SLOPE), NAN, "none")
    deviations = matrix - matrix.mean(axis=1, keepdims=True)
    deviations[np.abs(deviations) <= ROUNDING * np.abs(matrix).max(initial=0.0)] = 0.0
    steps = as_floats(deviations @ centred)  # one a question
    slope = renamed(bootstrap_mean(steps / spread, rng), "question", SLOPE)
    observed = abs(float(steps.sum()))
    variance = float(np.sum(deviations**2)) * spread / (levels.size - 1)
    if variance == 0.0:
        return Trend(slope, 1.0, "no question's score changes")
    if levels.size > MOST_LEVELS:
        p = float(2 * stats.norm.sf(observed / math.sqrt(variance)))
        return Trend(slope, max(p, SMALLEST_P), "permutation within questions, normal")
    sums = permuted_sums(centred, matrix, rng)
    as_far = int(np.sum(np.abs(sums) >= observed - ROUNDING * math.sqrt(variance)))
    p = (as_far + 1) / (N_RESAMPLES + 1)
    return Trend(slope, p, f"{N_RESAMPLES:,} random permutations within questions")


def permuted_sums(centred: Floats, matrix: Floats, rng: np.random.Generator) -> Floats:
    """Return sums over questions of centred x times score, each question's scores permuted.

    Questions with the same scores, in whatever order, are drawn together by their counts.
    """
    orders = centred[np.array(list(permutations(range(centred.size))))]  # (orders, levels)
    unlike, counts = np.unique(np.sort(matrix, axis=1), axis=0, return_counts=True)
    sums = np.zeros(N_RESAMPLES)
    for row, count in zip(unlike, counts.tolist(), strict=True):
        if count == 1:
            sums += rng.choice(orders @ row, size=N_RESAMPLES)
            continue
        values, often = np.unique(np.round(orders @ row, 12), return_counts=True)
        sums += rng.multinomial(count, often / len(orders), size=N_RESAMPLES) @ values
    return sums


def paired_values(x: Values, y: Values) -> tuple[Floats, Floats]:
    """Return both as arrays.

    Raises:
        ValueError: no pairs, unlike numbers of them, or a value that is not finite.
    """
    first, second = as_floats(x), as_floats(y)
    if first.size != second.size:
        raise ValueError(f"a correlation pairs its values, got {first.size} and {second.size}")
    return first, second
