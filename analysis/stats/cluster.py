"""Two arms on the same questions with several samples each: the question is the unit.

Owns resampling of per-question means: the paired sign-flip permutation test, the bootstrap interval
of a mean, and the detectable difference. A question's samples stay together, so k copies of one
answer count as one. Refuses to own binary tables (`paired`). Every function takes a Generator.

    differences = candidate_means - baseline_means          # one a question
    sign_flip_p(differences, np.random.default_rng(1234))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import Estimate, undefined
from analysis.stats.paired import SMALLEST_P, Z_ALPHA, Z_POWER

N_RESAMPLES = 9_999
LARGEST_K = 1_000  # samples a question whose means are taken for fractions
LATTICE_WORK = 300_000_000  # steps of the exact distribution: about a second
EXACT_UP_TO = 13  # non-zero differences: 2**13 sign patterns are fewer than the resamples
BATCH = 512  # rows of resamples held at once, so that memory does not grow with N_RESAMPLES
BOOTSTRAP = "question bootstrap, percentile"

Floats = NDArray[np.float64]


def sign_flip_p(differences: Sequence[float] | Floats, rng: np.random.Generator) -> float:
    """Return the two-sided p that each question's difference is as likely with the other sign.

    Exact over every sign pattern where the differences are multiples of one small fraction, as
    means of k verdicts are, or where up to 13 are not zero; else 9,999 random patterns with the
    observed one counted in, so that p is at least 0.0002. 1 where fewer than two are not zero.
    Source: Fisher 1935, section 21; scipy `permutation_test` of "samples" where not by `lattice_p`.

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
    result = stats.permutation_test(
        (moved, np.zeros_like(moved)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT_UP_TO + 1 if moved.size <= EXACT_UP_TO else N_RESAMPLES,
        batch=BATCH,
        rng=rng,
    )
    return min(float(result.pvalue), 1.0)


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


def bootstrap_mean(values: Sequence[float] | Floats, rng: np.random.Generator) -> Estimate:
    """Return the mean over questions with its 95% bootstrap interval.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile), resampling whole questions
    (Miller 2024, arXiv:2411.00640, section 2.2 on clusters), through scipy `bootstrap`.

    Raises:
        ValueError: no questions.
    """
    array = as_floats(values)
    mean = float(array.mean())
    if array.size < 2:
        return Estimate(mean, method=BOOTSTRAP, reason="one question: no interval")
    if np.all(array == array[0]):
        return Estimate(mean, mean, mean, method=BOOTSTRAP, reason="all questions alike")
    result = stats.bootstrap(
        (array,),
        np.mean,
        n_resamples=N_RESAMPLES,
        method="percentile",
        batch=BATCH,
        vectorized=True,
        rng=rng,
    )
    interval = result.confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high), method=BOOTSTRAP)


def detectable_mean_difference(differences: Sequence[float] | Floats) -> Estimate:
    """Return the smallest true mean difference shown with 80% power, from the observed spread.

    (z_0.975 + z_0.8) sd / sqrt(n). Source: Miller 2024, arXiv:2411.00640, section 5, paired.

    Raises:
        ValueError: no questions.
    """
    array = as_floats(differences)
    method = "mean of question differences, two-sided 5%, power 80%"
    if array.size < 2:
        return undefined("one question: its spread is unknown", method)
    spread = float(array.std(ddof=1))
    if spread == 0.0:
        return undefined("all question differences are alike: their spread is unknown", method)
    return Estimate((Z_ALPHA + Z_POWER) * spread / math.sqrt(array.size), method=method)


def as_floats(values: Sequence[float] | Floats) -> Floats:
    """Return the values as an array.

    Raises:
        ValueError: none, or one that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a mean over questions needs at least one question, got none")
    if not np.all(np.isfinite(array)):
        raise ValueError("question means must be finite; leave undefined questions out first")
    return array
