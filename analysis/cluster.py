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

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import Estimate, undefined
from analysis.paired import Z_ALPHA, Z_POWER

N_RESAMPLES = 9_999
EXACT_UP_TO = 13  # non-zero differences: 2**13 sign patterns are fewer than the resamples
BATCH = 512  # rows of resamples held at once, so that memory does not grow with N_RESAMPLES
BOOTSTRAP = "question bootstrap, percentile"

Floats = NDArray[np.float64]


def sign_flip_p(differences: Sequence[float] | Floats, rng: np.random.Generator) -> float:
    """Return the two-sided p that each question's difference is as likely with the other sign.

    Every sign pattern where up to 13 differences are not zero, else 9,999 random ones with the
    observed one counted in; 1 where all differences are zero. Source: Fisher 1935, section 21,
    through scipy `permutation_test(permutation_type="samples")`.

    Raises:
        ValueError: no questions.
    """
    values = as_floats(differences)
    moved = values[values != 0.0]
    if moved.size == 0:
        return 1.0
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
