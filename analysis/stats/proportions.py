"""One proportion, and the distance between two: Wilson, Clopper-Pearson and Cohen's h.

Owns estimators of single proportions, and the quantile and the name of a level. Refuses to own
anything paired (`paired`).

    wilson_interval(17, 30)            # (0.392, 0.726)
    clopper_pearson(17, 30)            # (0.374, 0.745): never covers less often than it says
    cohens_h(17 / 30, 22 / 30)         # -0.353: the candidate, named first, is lower
"""

from __future__ import annotations

from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportion_effectsize

from analysis.estimate import Estimate, undefined

LEVEL = 0.95
WILSON, CLOPPER_PEARSON = "Wilson", "Clopper-Pearson"
METHODS = {WILSON: "wilson", CLOPPER_PEARSON: "beta"}  # as statsmodels names them
H_LABELS = ((0.2, "negligible"), (0.5, "Small"), (0.8, "Medium"))
H_LARGEST = "Large"


def wilson_interval(n_correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return Wilson's score interval of n_correct / n, within [0, 1].

    Source: Wilson 1927, through statsmodels `proportion_confint(method="wilson")`.

    Raises:
        ValueError: n is 0, n_correct lies outside 0..n, or the level outside (0, 1).
    """
    return interval_of(n_correct, n, WILSON, level)


def clopper_pearson(n_correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of n_correct / n: wider than Wilson's, and never too short.

    Source: Clopper and Pearson 1934, through statsmodels `proportion_confint(method="beta")`.

    Raises:
        ValueError: n is 0, n_correct lies outside 0..n, or the level outside (0, 1).
    """
    return interval_of(n_correct, n, CLOPPER_PEARSON, level)


def interval_of(n_correct: int, n: int, method: str, level: float) -> tuple[float, float]:
    """Return an interval of n_correct / n, within [0, 1].

    Raises:
        ValueError: n is 0, n_correct lies outside 0..n, or the level outside (0, 1).
    """
    if n <= 0:
        raise ValueError(f"{method}'s interval needs at least one sample, got n={n!r}")
    if not 0 <= n_correct <= n:
        raise ValueError(f"n_correct must lie in 0..{n}, got {n_correct!r}")
    check_level(level)
    low, high = proportion_confint(n_correct, n, alpha=round(1 - level, 12), method=METHODS[method])
    return (
        0.0 if n_correct == 0 else max(float(low), 0.0),  # exactly, and not 1e-17
        1.0 if n_correct == n else min(float(high), 1.0),
    )


def proportion(n_correct: int, n: int, level: float = LEVEL, method: str = WILSON) -> Estimate:
    """Return n_correct / n with its interval; undefined, with the reason, where n is 0."""
    named = name_at(method, level)
    if n == 0:
        return undefined("no samples", named)
    low, high = interval_of(n_correct, n, method, level)
    return Estimate(n_correct / n, low, high, method=named)


def z_of(level: float) -> float:
    """Return the normal quantile of a two-sided level: 1.959964 of 0.95.

    Raises:
        ValueError: the level lies outside (0, 1).
    """
    check_level(level)
    return float(stats.norm.isf((1 - level) / 2))


def name_at(method: str, level: float) -> str:
    """Return the method's name, with the level where it is not 95%."""
    return method if level == LEVEL else f"{method}, {100 * level:g}%"


def check_level(level: float) -> None:
    """Refuse a level that is no share, 95 for instance.

    Raises:
        ValueError: it lies outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval must lie in (0, 1), got {level!r}")


def cohens_h(candidate: float, baseline: float) -> float:
    """Return 2 asin sqrt(candidate) - 2 asin sqrt(baseline), in [-pi, pi].

    Positive where the candidate is higher. Source: Cohen 1988, chapter 6, through statsmodels
    `proportion_effectsize`.

    Raises:
        ValueError: a proportion outside [0, 1], or NaN.
    """
    for name, value in (("candidate", candidate), ("baseline", baseline)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {value!r}")
    return float(proportion_effectsize(candidate, baseline))


def h_label(h: float) -> str:
    """Name the size of an h: negligible below 0.2, Small below 0.5, Medium below 0.8, else Large.

    The words, with their case, are those of the reports that this suite reproduces.
    """
    return next((label for limit, label in H_LABELS if abs(h) < limit), H_LARGEST)
