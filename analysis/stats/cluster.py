"""Two arms on the same questions with several samples each: the question is the unit.

Owns the paired sign-flip permutation test, the bootstrap interval of a mean, clustered
standard errors, and the detectable difference of means. A question's samples stay
together, so k copies of one answer count as one. Refuses to own binary tables (`paired`) and the
draws themselves (`bootstrap`). Every random routine takes a Generator.

    differences = candidate_means - baseline_means          # one a question
    sign_flip_p(differences, np.random.default_rng(1234))
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import NAN, Estimate, undefined
from analysis.stats.bootstrap import BCA, N_RESAMPLES, checked, interval_of_means, spread_of
from analysis.stats.paired import ALPHA, SMALLEST_P
from analysis.stats.power import FEWEST, Z_ALPHA, Z_POWER
from analysis.stats.proportions import LEVEL, clopper_pearson, name_at

LARGEST_K = 1_000  # samples a question whose means are taken for fractions
LATTICE_WORK = 300_000_000  # steps of the exact distribution: about a second
EXACT_UP_TO = 13  # non-zero differences: 2**13 sign patterns are fewer than the resamples
SIGNS_AT_ONCE = 4_000_000  # signs held at once, so that memory does not grow with the questions
ROUNDING = 1e-12  # sums this near to the observed one, as a share of the largest, are equal to it
FEW_DIFFER = 50  # questions; where fewer differ, BCa is widened to t
BOUNDED = "exact bound by the questions that differ (fewer than 6)"
WIDENED = "no shorter than t"
CLUSTERED = "mean, clustered standard error, t"

Floats = NDArray[np.float64]
Values = Sequence[float] | Floats


def sign_flip_p(differences: Values, rng: np.random.Generator) -> float:
    """Return the two-sided p that each question's difference is as likely with the other sign.

    Exact over every sign pattern where the differences are multiples of one small fraction, as
    means of k verdicts are, or where up to 13 are not zero; else 9,999 random patterns with the
    observed one counted in, so that p is at least 0.0001. 1 where fewer than two are not zero.
    Source: Fisher 1935, section 21; Phipson and Smyth 2010 (the observed pattern counted in).

    Raises:
        ValueError: no questions.
    """
    values = as_floats(differences)
    moved = values[values != 0.0]
    if moved.size < 2:
        return 1.0
    exact = lattice_p(moved)
    if exact is not None:
        return exact
    observed = abs(float(moved.sum())) - ROUNDING * float(np.abs(moved).sum())
    if moved.size <= EXACT_UP_TO:
        patterns = np.arange(2**moved.size)[:, None] >> np.arange(moved.size) & 1
        return float(np.mean(np.abs((2.0 * patterns - 1.0) @ moved) >= observed))
    as_far, batch = 0, max(SIGNS_AT_ONCE // moved.size, 1)
    for start in range(0, N_RESAMPLES, batch):
        shape = (min(batch, N_RESAMPLES - start), moved.size)
        as_far += int(np.sum(np.abs((2.0 * random_bits(shape, rng) - 1.0) @ moved) >= observed))
    return (as_far + 1) / (N_RESAMPLES + 1)


def random_bits(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return fair zeros and ones, eight from each random byte."""
    drawn = rng.integers(0, 256, size=(shape[0], -(-shape[1] // 8)), dtype=np.uint8)
    return np.unpackbits(drawn, axis=1, count=shape[1])


def lattice_p(moved: Floats) -> float | None:
    """Return the exact sign-flip p of multiples of one fraction, None where they are none.

    The chances of every sum of signed steps, one step after the other: all 2**n patterns in a time
    of n times the sum of steps. Source: Pagano and Tritchler 1983, JASA 78:435-440.
    """
    parts = [Fraction(value).limit_denominator(LARGEST_K) for value in moved.tolist()]
    scale = math.lcm(*(part.denominator for part in parts))
    steps = [int(abs(part) * scale) for part in parts]
    near = np.allclose([float(part) for part in parts], moved, rtol=0.0, atol=1e-9)
    if not near or len(steps) * sum(steps) > LATTICE_WORK:
        return None
    chances = np.ones(1)  # of the sums -sum(done), ..., sum(done)
    for step in steps:
        longer = np.zeros(chances.size + 2 * step)
        longer[: chances.size] += chances / 2
        longer[2 * step :] += chances / 2
        chances = longer
    observed = abs(int(sum(parts) * scale))
    sums = np.abs(np.arange(chances.size) - sum(steps))
    return float(np.clip(chances[sums >= observed].sum(), SMALLEST_P, 1.0))


def bootstrap_mean(values: Values, rng: np.random.Generator, method: str = BCA) -> Estimate:
    """Return the mean over questions with its 95% bootstrap interval, BCa or percentile.

    Where BCa is undefined the percentile interval stands in, with the reason.
    Source: Efron 1987, JASA 82:171-185, resampling whole questions (Miller 2024, arXiv:2411.00640,
    section 2.2 on clusters).

    Raises:
        ValueError: no questions, or a mean that is not finite.
    """
    return interval_of_means(as_floats(values)[:, None], lambda means: means[..., 0], rng, method)


def bootstrap_difference(differences: Values, rng: np.random.Generator) -> Estimate:
    """Return the mean of score differences, each within [-1, 1], with its 95% interval.

    BCa, which is too short where few questions differ: it covers 81% to 93% then, and may exclude 0
    on the word of one question (simulations in docs/statistics.md). Below 50 questions that differ
    it is drawn out to Student's t; below 6 the bound of `share_bounds` stands in.
    Source: Efron 1987 (BCa); Student 1908; Clopper and Pearson 1934. The rule is this suite's own.

    Raises:
        ValueError: no questions, or a difference that is not finite.
    """
    array = as_floats(differences)
    n_differ = np.count_nonzero(array)
    if array.size > 1 and n_differ < FEWEST:
        low, high = share_bounds(array, LEVEL)
        return Estimate(float(array.mean()), low, high, BOUNDED)
    found = bootstrap_mean(array, rng)
    if math.isnan(found.low) or n_differ >= FEW_DIFFER:
        return found
    error = spread_of(array) / math.sqrt(array.size)
    half = float(stats.t.isf((1 - LEVEL) / 2, array.size - 1)) * error
    low = max(min(found.low, found.value - half), -1.0)
    high = min(max(found.high, found.value + half), 1.0)
    return Estimate(found.value, low, high, f"{found.method}, {WIDENED}", found.reason)


def share_bounds(differences: Values, level: float) -> tuple[float, float]:
    """Return between which values the true mean difference lies, if no question loses more than 1.

    A mean loss is at most the chance that a question loses anything, and a gain likewise:
    Clopper-Pearson's limits of both, exact and too wide rather than too short.

    Raises:
        ValueError: no questions, or a difference outside [-1, 1].
    """
    array = as_floats(differences)
    if np.abs(array).max() > 1.0:
        raise ValueError(f"differences of scores lie in [-1, 1], got {array.min()}..{array.max()}")
    lost, won = (int(np.count_nonzero(sign * array > 0.0)) for sign in (-1, 1))
    below, above = (clopper_pearson(count, array.size, level)[1] for count in (lost, won))
    return -below, above


def clustered_se(values: Values, clusters: Sequence[Hashable]) -> float:
    """Return the standard error of the mean of values that come in clusters; NaN for one cluster.

    sqrt(G / (G - 1) sum over clusters of (sum of deviations)^2) / n: for questions on one passage,
    or samples of one question. Clusters of one value give sd / sqrt(n).
    Source: Miller 2024, arXiv:2411.00640, section 2.2, with the factor G / (G - 1) of statsmodels
    and Stata (Cameron and Miller 2015, Journal of Human Resources 50:317-372).

    Raises:
        ValueError: no values, or clusters of another number.
    """
    array = as_floats(values)
    if len(clusters) != array.size:
        raise ValueError(f"each value needs its cluster, got {array.size} and {len(clusters)}")
    place: dict[Hashable, int] = {}
    index = [place.setdefault(cluster, len(place)) for cluster in clusters]
    n_clusters = len(place)
    if n_clusters < 2:
        return NAN
    sums = np.bincount(index, weights=array - array.mean(), minlength=n_clusters)
    return math.sqrt(n_clusters / (n_clusters - 1) * float(sums @ sums)) / array.size


def clustered_mean(
    values: Values,
    clusters: Sequence[Hashable],
    level: float = LEVEL,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """Return the mean with its interval from the clustered standard error, t with G - 1 degrees.

    `bounds`: what a mean cannot leave, [0, 1] for scores; the interval ends there.

    Raises:
        ValueError: no values, or clusters of another number.
    """
    error = clustered_se(values, clusters)
    mean, method = float(as_floats(values).mean()), name_at(CLUSTERED, level)
    if math.isnan(error):
        return Estimate(mean, method=method, reason="one cluster: no interval")
    if error <= ROUNDING:
        return Estimate(mean, method=method, reason="no spread among the clusters: no interval")
    half = float(stats.t.isf((1 - level) / 2, len(set(clusters)) - 1)) * error
    low, high = max(mean - half, bounds[0]), min(mean + half, bounds[1])
    return Estimate(mean, low, high, method=method)


def detectable_mean_difference(differences: Values) -> Estimate:
    """Return the smallest true mean difference shown with 80% power, from the observed spread.

    (z_0.975 + z_0.8) sd / sqrt(n); below 6 questions no sign flips reach 5%.
    Source: Miller 2024, arXiv:2411.00640, section 5, paired.

    Raises:
        ValueError: no questions.
    """
    array = as_floats(differences)
    method = "mean of question differences, two-sided 5%, power 80%"
    if array.size < 2:
        return undefined("one question: its spread is unknown", method)
    if 2.0 * 0.5**array.size > ALPHA:
        return undefined(f"n={array.size} is too small to show any difference", method)
    spread = spread_of(array)
    if spread == 0.0:
        return undefined("all question differences are alike: their spread is unknown", method)
    return Estimate((Z_ALPHA + Z_POWER) * spread / math.sqrt(array.size), method=method)


def power_of_mean(differences: Values, difference: float) -> Estimate:
    """Return the chance to show a true mean difference, in its own direction, by this spread.

    Phi(difference sqrt(n) / sd - z_0.975), the inverse of `detectable_mean_difference`.
    Source: Miller 2024, arXiv:2411.00640, section 5, paired.

    Raises:
        ValueError: no questions.
    """
    array = as_floats(differences)
    detectable = detectable_mean_difference(array)
    method = "mean of question differences, two-sided 5%"
    if not detectable.defined:
        return undefined(str(detectable.reason), method)
    reached = (Z_ALPHA + Z_POWER) * abs(difference) / detectable.value - Z_ALPHA
    return Estimate(float(stats.norm.cdf(reached)), method=method)


def as_floats(values: Values) -> Floats:
    """Return the values as an array of one axis.

    Raises:
        ValueError: none, or one that is not finite.
    """
    return checked(np.asarray(values, dtype=np.float64).reshape(-1, 1))[:, 0]
