"""Which of two texts is preferred, with their lengths taken out of it.

Owns the win rate at equal length by logistic regression, and what makes it undefined. Refuses to
own who preferred what. Deterministic.

    at_equal_length([1.0, -0.5, 0.2, -1.1], [True, True, False, False])
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special, stats
from statsmodels.api import Logit
from statsmodels.tools.sm_exceptions import ConvergenceWarning, PerfectSeparationWarning

from analysis.estimate import NAN, Estimate, undefined

METHOD = "logistic regression on the log ratio of lengths"
MAX_ITERATIONS = 200
UNCONVERGED = (ConvergenceWarning, PerfectSeparationWarning, RuntimeWarning)
Z = float(stats.norm.isf(0.025))


class AtEqualLength(NamedTuple):
    """The chance to win at equal length, and how a doubling of the ratio of lengths moves it.

    `slope` is the change of the log odds when the text's length over the other's doubles; `p` tests
    that it is 0.
    """

    win_rate: Estimate
    slope: Estimate
    p: float


def at_equal_length(
    log2_ratios: Sequence[float],
    wins: Sequence[bool],
    clusters: Sequence[Hashable] | None = None,
) -> AtEqualLength:
    """Regress the win of a text on log2 of its length over the other's.

    The intercept is the log odds at equal length. Wald intervals, with standard errors robust to
    `clusters` where some hold several comparisons. Undefined where one side won all, where all
    ratios are alike, and where a length separates wins from losses (the estimate would be
    infinite: Albert and Anderson 1984, Biometrika 71:1-10).
    Source: the idea of Dubois et al. 2024, arXiv:2404.04475, section 3, in its plainest form:
    their model also has terms for model and question. Fitted by statsmodels `Logit`.

    Raises:
        ValueError: no comparison, lists of different lengths, or a ratio that is not finite.
    """
    x, y = np.asarray(log2_ratios, dtype=np.float64), np.asarray(wins, dtype=bool)
    if x.size == 0 or x.size != y.size or (clusters is not None and len(clusters) != x.size):
        raise ValueError(
            f"lengths need a ratio and a win for at least one pair, got {x.size} and {y.size}"
        )
    if not np.all(np.isfinite(x)):
        raise ValueError("ratios of lengths must be finite; leave empty texts out first")
    reason = why_undefined(x, y)
    if reason:
        return nothing(reason)
    groups = None if clusters is None else codes(clusters)
    if groups is not None and len(set(groups)) == x.size:
        groups = None  # one comparison each: nothing to be robust to
    fit = fitted(x, y, groups)
    if fit is None:
        return nothing("the regression does not converge: lengths all but decide who wins")
    method = METHOD + (", errors by question" if groups is not None else "")
    if x.min() > 0 or x.max() < 0:
        method += "; extrapolated, as one side is longer in every pair"
    odds, slope = np.column_stack([fit.params, fit.params - Z * fit.bse, fit.params + Z * fit.bse])
    return AtEqualLength(
        interval(special.expit(odds), method), interval(slope, method), float(fit.pvalues[1])
    )


def fitted(x: np.ndarray, y: np.ndarray, groups: list[int] | None) -> Any:
    """Return the fit of statsmodels, None where it does not converge.

    A warning on the way counts as that: the numbers after it are of no use.
    """
    robust = {} if groups is None else {"cov_type": "cluster", "cov_kwds": {"groups": groups}}
    design = np.column_stack([np.ones(x.size), x])
    try:
        with warnings.catch_warnings():
            for category in UNCONVERGED:
                warnings.simplefilter("error", category)
            model = Logit(y.astype(np.float64), design)
            return model.fit(disp=0, maxiter=MAX_ITERATIONS, **robust)
    except (*UNCONVERGED, np.linalg.LinAlgError):
        return None


def interval(limits: np.ndarray, method: str) -> Estimate:
    """Return a value with its low and high limit as an estimate."""
    value, low, high = limits.tolist()
    return Estimate(value, low, high, method=method)


def why_undefined(x: np.ndarray, y: np.ndarray) -> str:
    """Return why the regression has no finite estimate, "" where it has one."""
    if y.all() or not y.any():
        return "one side won all"
    if np.ptp(x) == 0:
        return "all ratios of lengths are alike"
    won, lost = x[y], x[~y]
    if lost.max() <= won.min():
        return "the relatively longer text always won: lengths separate wins from losses"
    if won.max() <= lost.min():
        return "the relatively shorter text always won: lengths separate wins from losses"
    return ""


def codes(clusters: Sequence[Hashable]) -> list[int]:
    """Return a number for each cluster."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]


def nothing(reason: str) -> AtEqualLength:
    """Return a result that says why there is none."""
    return AtEqualLength(undefined(reason, METHOD), undefined(reason, METHOD), NAN)
