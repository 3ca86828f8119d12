"""One training recipe under several seeds: how much the scores differ from run to run.

Owns the summary over runs, their comparison with a baseline, and the parts of the variance. The
unit is the run here: n seeds are n observations, whatever the number of questions. Refuses to own
runs of one and the same model (`noise`).

    over_seeds([0.692, 0.696, 0.694, 0.697, 0.693]).t      # 0.694 [0.692, 0.697]
    variance_parts(scores)                                 # scores: (questions, runs)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import NAN, Estimate
from analysis.stats.bootstrap import PERCENTILE, renamed, spread_of
from analysis.stats.cluster import as_floats, bootstrap_mean, sign_flip_p
from analysis.stats.paired import ALPHA, SMALLEST_P

T_INTERVAL = "t interval over runs"
WELCH = "Welch's t over runs"
ONE_SAMPLE = "one-sample t over runs"
CROSSED = "questions and runs, t (Satterthwaite)"
SEED = 1234

Floats = NDArray[np.float64]
Values = Sequence[float] | Floats


class Seeds(NamedTuple):
    """Scores of runs that differ in their seed: mean, sd (n - 1), and two intervals of the mean."""

    n: int
    mean: float
    sd: float  # NaN for one run
    low: float  # the lowest score
    high: float
    t: Estimate
    bootstrap: Estimate


class AgainstBaseline(NamedTuple):
    """Mean score of the runs minus the baseline's, and the two-sided p that it is 0."""

    difference: Estimate
    p: float
    reason: str | None = None  # why there is no p


class PairedSeeds(NamedTuple):
    """The same with every question paired, over all questions and runs.

    `difference` carries both the chance of the questions and that of the runs; `questions` that of
    the questions alone, these runs given; `p` belongs to `difference`, `p_questions` to the other.
    """

    difference: Estimate
    p: float
    questions: Estimate
    p_questions: float


class VarianceParts(NamedTuple):
    """Standard deviations of one run's mean score, by where they come from.

    `questions`: had other questions been drawn. `runs`: had the same questions been run again, each
    by chance of its own. `run_means`: what the runs' means show, which also holds what moves a
    whole run, as its seed does. `share_runs`: runs^2 / (questions^2 + runs^2).
    """

    questions: float
    runs: float
    run_means: float
    share_runs: float


def over_seeds(scores: Values, rng: np.random.Generator | None = None) -> Seeds:
    """Summarise the scores of several runs; without a Generator the draws have a fixed seed.

    The t interval assumes nearly normal scores. The bootstrap interval is beside it since reports
    print it: with n runs it is too short, by sqrt((n - 1) / n) and more, so read t below 20 runs.
    Source: Student 1908; Efron and Tibshirani 1993, chapter 13; on few seeds Agarwal et al. 2021,
    arXiv:2108.13264.

    Raises:
        ValueError: no runs, or a score that is not finite.
    """
    array = as_floats(scores)
    n, mean = array.size, float(array.mean())
    sd = spread_of(array) if n > 1 else NAN
    drawn = bootstrap_mean(array, rng or np.random.default_rng(SEED), PERCENTILE)
    return Seeds(
        n=n,
        mean=mean,
        sd=sd,
        low=float(array.min()),
        high=float(array.max()),
        t=t_interval(mean, sd / math.sqrt(n), n - 1, T_INTERVAL),
        bootstrap=renamed(drawn, "run"),
    )


def t_interval(mean: float, error: float, freedom: float, method: str) -> Estimate:
    """Return mean +- t_0.975 times a standard error; without an interval where that is unknown."""
    if math.isnan(error):
        return Estimate(mean, method=method, reason="one run: its spread is unknown")
    half = float(stats.t.isf(ALPHA / 2, freedom)) * error if error > 0.0 else 0.0
    alike = "all runs alike: the interval has no width" if half == 0.0 else None
    return Estimate(mean, mean - half, mean + half, method, alike)


def against_baseline(scores: Values, baseline: float | Values) -> AgainstBaseline:
    """Compare the runs' scores with one number, or with the scores of the baseline's own runs.

    One number is taken as known: its own noise is left out, so prefer several runs of the baseline,
    or `paired_over_seeds`. Source: Student 1908 (one sample); Welch 1947 (two samples), both as in
    scipy `ttest_1samp` and `ttest_ind`.

    Raises:
        ValueError: no runs, or a score that is not finite.
    """
    ours, theirs = as_floats(scores), as_floats(np.atleast_1d(np.asarray(baseline, np.float64)))
    difference = float(ours.mean() - theirs.mean())
    method = ONE_SAMPLE if theirs.size == 1 else WELCH
    if ours.size < 2:
        reason = "one run: its spread is unknown"
        return AgainstBaseline(Estimate(difference, method=method, reason=reason), NAN, reason)
    parts = [variance_of_mean(array) for array in (ours, theirs) if array.size > 1]
    return tested(difference, parts, method)


def variance_of_mean(array: Floats) -> tuple[float, int]:
    """Return the squared standard error of the mean of several values, and its degrees."""
    return spread_of(array) ** 2 / array.size, array.size - 1


def tested(difference: float, parts: Sequence[tuple[float, int]], method: str) -> AgainstBaseline:
    """Return a difference with its t interval and p from the parts of its squared error.

    The degrees of freedom of the sum are Satterthwaite's; a part may be negative.
    Source: Satterthwaite 1946, Biometrics Bulletin 2:110-114.
    """
    squared = max(sum(part for part, _ in parts), 0.0)
    if squared == 0.0:
        reason = "all runs alike: their spread is unknown"
        return AgainstBaseline(Estimate(difference, method=method, reason=reason), NAN, reason)
    freedom = squared**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(squared)
    p = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return AgainstBaseline(
        t_interval(difference, error, freedom, method), min(max(p, SMALLEST_P), 1.0)
    )


def paired_over_seeds(
    scores: Floats, baseline: Values, rng: np.random.Generator | None = None
) -> PairedSeeds:
    """Compare several runs with the baseline question by question.

    `scores` is (questions, runs), `baseline` the baseline's mean score of each question. Questions
    and runs are both taken as drawn: the squared error is that of the question means, plus that of
    the run means, less the residual which both hold. The figures of the questions alone are the
    bootstrap and the sign flips of `cluster`.
    Source: Cornfield and Tukey 1956, Annals of Mathematical Statistics 27:907-949 (crossed random
    factors); for questions and runs Miller 2024, arXiv:2411.00640, section 3.

    Raises:
        ValueError: no questions or runs, unlike numbers of questions, or a score not finite.
    """
    matrix = as_matrix(scores)
    base = as_floats(baseline)
    if base.size != len(matrix):
        raise ValueError(f"scores and baseline pair: got {len(matrix)} and {base.size} questions")
    rng = rng or np.random.default_rng(SEED)
    differences = matrix - base[:, None]  # (questions, runs)
    by_question, by_run = differences.mean(axis=1), differences.mean(axis=0)
    n, n_runs = differences.shape
    questions = bootstrap_mean(by_question, rng)
    p_questions = sign_flip_p(by_question, rng)
    mean = float(differences.mean())
    if n < 2 or n_runs < 2:
        reason = "one question or one run: its spread is unknown"
        missing = Estimate(mean, method=CROSSED, reason=reason)
        return PairedSeeds(missing, NAN, questions, p_questions)
    residual = differences - by_question[:, None] - by_run[None, :] + mean
    degrees = (n - 1) * (n_runs - 1)
    both = float(np.sum(residual**2)) / degrees / (n * n_runs)
    parts = [variance_of_mean(by_question), variance_of_mean(by_run)]
    subtracted = min(both, *(part for part, _ in parts))  # else a sum below either of its parts
    found = tested(mean, [*parts, (-subtracted, degrees)], CROSSED)
    return PairedSeeds(found.difference, found.p, questions, p_questions)


def variance_parts(scores: Floats) -> VarianceParts:
    """Split the variance of one run's mean score into that of its questions and of its runs.

    `scores` is (questions, runs). Runs: the mean over questions of the variance among runs, over
    n. Questions: the variance of question means less what the runs put into it, over n, at least
    0. Source: the law of total variance as in Miller 2024, arXiv:2411.00640, section 3.

    Raises:
        ValueError: fewer than two questions or two runs, or a score that is not finite.
    """
    matrix = as_matrix(scores)
    n, n_runs = matrix.shape
    if n < 2 or n_runs < 2:
        raise ValueError(
            f"parts of a variance need two questions and two runs at least, got {n} and {n_runs}"
        )
    within = float((matrix - matrix[:, :1]).var(axis=1, ddof=1).mean())
    between = max(spread_of(matrix.mean(axis=1)) ** 2 - within / n_runs, 0.0)
    whole = within + between
    return VarianceParts(
        questions=math.sqrt(between / n),
        runs=math.sqrt(within / n),
        run_means=spread_of(matrix.mean(axis=0)),
        share_runs=within / whole if whole > 0.0 else NAN,
    )


def as_matrix(scores: Floats) -> Floats:
    """Return (questions, runs) as an array.

    Raises:
        ValueError: another number of axes, nothing in it, or a score that is not finite.
    """
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"scores must be (questions, runs) and not empty, got {matrix.shape!r}")
    if not np.all(np.isfinite(matrix)):
        raise ValueError("scores must be finite; leave questions out that some run has no score of")
    return matrix
