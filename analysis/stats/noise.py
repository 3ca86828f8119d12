"""A/A: how much two runs of one model differ, below which no difference means anything.

Owns the noise floor of repeated runs of the same arm on the same questions. Refuses to own runs
that were trained anew (`seeds`).

    noise_floor(scores, np.random.default_rng(1234)).reach     # 0.021: 95% are within
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import NAN, Estimate
from analysis.stats.bootstrap import renamed, spread_of
from analysis.stats.cluster import bootstrap_mean
from analysis.stats.proportions import z_of
from analysis.stats.seeds import as_matrix

FLIPS = "mean over pairs of runs"


class NoiseFloor(NamedTuple):
    """What runs of one and the same model differ by.

    `flips`: share of questions that two runs score differently. `sd_difference`: of the score
    difference of two runs, each question's chance its own. `reach`: 1.96 of it. `largest`: the
    largest difference that was seen between two of the runs. `sd_runs`: of the runs' scores as
    seen; far above sd_difference / sqrt(2) something moved whole runs.
    """

    n_questions: int
    n_runs: int
    flips: Estimate
    sd_difference: float
    reach: float
    largest: float
    sd_runs: float


def noise_floor(scores: NDArray[np.float64], rng: np.random.Generator) -> NoiseFloor:
    """Return the noise floor of runs of one model; `scores` is (questions, runs).

    The variance of a question is that among its runs; that of the difference of two runs is twice
    their sum over n squared. With two runs it is sqrt(sum of squared differences) / n.
    Source: Miller 2024, arXiv:2411.00640, section 3 (conditional variance of the answers).

    Raises:
        ValueError: no questions, fewer than two runs, or a score that is not finite.
    """
    matrix = as_matrix(scores)
    n, n_runs = matrix.shape
    if n_runs < 2:
        raise ValueError("a noise floor needs two runs of one model at least, got 1")
    pairs = list(combinations(range(n_runs), 2))
    unlike = np.mean([matrix[:, one] != matrix[:, other] for one, other in pairs], axis=0)
    means = matrix.mean(axis=0)
    sd = math.sqrt(2 * float((matrix - matrix[:, :1]).var(axis=1, ddof=1).sum())) / n
    return NoiseFloor(
        n_questions=n,
        n_runs=n_runs,
        flips=renamed(bootstrap_mean(unlike, rng), "question", FLIPS),
        sd_difference=sd,
        reach=z_of(0.95) * sd,
        largest=float(means.max() - means.min()),
        sd_runs=spread_of(means) if n_runs > 2 else NAN,
    )
