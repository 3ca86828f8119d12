"""One proportion, and the distance between two: Wilson's interval and Cohen's h.

Owns estimators of single proportions. Refuses to own anything paired (`paired`).

    wilson_interval(17, 30)            # (0.392, 0.726)
    cohens_h(17 / 30, 22 / 30)         # -0.353: the candidate, named first, is lower
"""

from __future__ import annotations

from statsmodels.stats.proportion import proportion_confint, proportion_effectsize

from analysis.estimate import NAN, Estimate

H_LABELS = ((0.2, "negligible"), (0.5, "Small"), (0.8, "Medium"))
H_LARGEST = "Large"


def wilson_interval(n_correct: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95% score interval of n_correct / n, within [0, 1].

    Source: Wilson 1927, through statsmodels `proportion_confint(method="wilson")`.

    Raises:
        ValueError: n is 0, or n_correct lies outside 0..n.
    """
    if n <= 0:
        raise ValueError(f"Wilson's interval needs at least one sample, got n={n!r}")
    if not 0 <= n_correct <= n:
        raise ValueError(f"n_correct must lie in 0..{n}, got {n_correct!r}")
    low, high = proportion_confint(n_correct, n, alpha=0.05, method="wilson")
    return min(max(float(low), 0.0), 1.0), min(max(float(high), 0.0), 1.0)


def proportion(n_correct: int, n: int) -> Estimate:
    """Return n_correct / n with Wilson's interval; undefined, with the reason, where n is 0."""
    if n == 0:
        return Estimate(NAN, method="Wilson", reason="no samples")
    low, high = wilson_interval(n_correct, n)
    return Estimate(n_correct / n, low, high, method="Wilson")


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
