"""Two arms on the same questions, one binary verdict each: tests and intervals from a 2x2 table.

Owns `PairedTable` and what is computed from it: McNemar's test, its mid-p form, Newcombe's and
Tango's intervals of the difference, and the odds ratio of the discordant pairs. Refuses to own
repeated samples (`cluster`), what a sample size can show (`power`), that a difference is small
(`equivalence`) and several tests at once (`multiplicity`).

    table = PairedTable(both=12, candidate_only=1, baseline_only=8, neither=9)
    mcnemar(table)          # McNemar(p=0.0391, rule="exact", exact_p=0.0391, mid_p=0.0215)
    newcombe_difference(table)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from analysis.estimate import Estimate, undefined
from analysis.stats.bootstrap import spread_of
from analysis.stats.proportions import LEVEL, clopper_pearson, name_at, wilson_interval, z_of

EXACT_BELOW = 25  # discordant pairs; the rule of the published reports
EXACT = "exact"
CHI2 = "chi2 with continuity correction"
SMALLEST_P = 1e-300  # what a smaller p is given as: none is 0
NEWCOMBE = "Newcombe paired (method 10)"
TANGO = "Tango paired score"
WALD = "paired normal (Wald)"
ODDS_RATIO = "odds ratio of discordant pairs, exact conditional"
ALPHA = 0.05


class PairedTable(NamedTuple):
    """Questions by which arm solved them."""

    both: int
    candidate_only: int
    baseline_only: int
    neither: int

    @property
    def n(self) -> int:
        """Return the number of questions."""
        return sum(self)

    @property
    def n_discordant(self) -> int:
        """Return the number of questions that exactly one arm solved."""
        return self.candidate_only + self.baseline_only


class McNemar(NamedTuple):
    """A two-sided test that both arms solve equally often, and the rule that chose its form."""

    p: float
    rule: str
    exact_p: float
    mid_p: float


def mcnemar(table: PairedTable) -> McNemar:
    """Test the discordant pairs: exact below 25 of them, else chi-square with correction.

    The exact p comes along in either case. With no discordant pair every p is 1, and none is ever
    0: one below `SMALLEST_P` is given as that.
    Source: McNemar 1947, the chi-square form through statsmodels `mcnemar` (which corrects also
    where b equals c, so that p is just below 1 there); the choice of form is that of the published
    reports. mid-p: Fagerland, Lydersen, Laake 2013, BMC Medical Research Methodology 13:91.

    Raises:
        ValueError: a negative count, or no questions.
    """
    check(table)
    b, c = table.candidate_only, table.baseline_only
    if b + c == 0:
        return McNemar(1.0, EXACT, 1.0, 1.0)
    exact = exact_p(b, c)
    if b + c < EXACT_BELOW:
        return McNemar(exact, EXACT, exact, mid_p(b, c))
    cells = [[table.both, b], [c, table.neither]]
    p = float(statsmodels_mcnemar(cells, exact=False, correction=True).pvalue)
    return McNemar(max(p, SMALLEST_P), CHI2, exact, mid_p(b, c))


def exact_p(b: int, c: int) -> float:
    """Return the two-sided binomial p of b against c discordant pairs."""
    return min(max(2.0 * splits_below(min(b, c) + 1, b + c), SMALLEST_P), 1.0)


def mid_p(b: int, c: int) -> float:
    """Return McNemar's mid-p: the exact p with the splits as likely as the observed one halved."""
    n = b + c
    point = float(stats.binom.pmf(b, n, 0.5))
    p = 1.0 - point / 2 if b == c else 2.0 * splits_below(min(b, c), n) + point
    return max(p, SMALLEST_P)


def splits_below(end: int, n: int) -> float:
    """Return the chance of fewer than `end` heads in n fair throws.

    Summed from the small end: scipy's `binom.cdf` is 0 from about 1e-285 on, far above the smallest
    double, and a mid-p as a difference of two such numbers came out below 0.
    """
    return float(stats.binom.pmf(np.arange(end), n, 0.5).sum())


def newcombe_difference(table: PairedTable, level: float = LEVEL) -> Estimate:
    """Return candidate minus baseline with Newcombe's interval, within [-1, 1].

    Source: Newcombe 1998, Statistics in Medicine 17:2635-2650, method 10: Wilson limits of the two
    margins joined with the continuity-corrected phi. statsmodels 0.14 and 0.15 have no paired form.

    Raises:
        ValueError: a negative count, no questions, or a level outside (0, 1).
    """
    check(table)
    n = table.n
    n_candidate, n_baseline = table.both + table.candidate_only, table.both + table.baseline_only
    candidate, baseline = n_candidate / n, n_baseline / n
    candidate_low, candidate_high = wilson_interval(n_candidate, n, level)
    baseline_low, baseline_high = wilson_interval(n_baseline, n, level)
    phi = corrected_phi(table)
    difference = (table.candidate_only - table.baseline_only) / n
    below = reach(candidate - candidate_low, baseline_high - baseline, phi)
    above = reach(candidate_high - candidate, baseline - baseline_low, phi)
    return Estimate(
        difference,
        max(difference - below, -1.0),
        min(difference + above, 1.0),
        method=name_at(NEWCOMBE, level),
    )


def reach(one: float, other: float, phi: float) -> float:
    """Return the length of two correlated distances added as vectors."""
    return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))


def corrected_phi(table: PairedTable) -> float:
    """Return phi of the table, a positive one corrected towards 0; 0 where a margin is empty."""
    a, b, c, d = table
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    cross = float(a * d - b * c)
    if cross > 0:
        cross = max(cross - table.n / 2, 0.0)
    return cross / math.sqrt(margins)


def tango_difference(table: PairedTable, level: float = LEVEL) -> Estimate:
    """Return candidate minus baseline with Tango's score interval, within [-1, 1].

    The differences that the score test of `tango_z` does not reject. With no discordant pair it is
    +-z^2 / (n + z^2); where all questions are discordant one way, from (n - z^2) / (n + z^2) to 1.
    Source: Tango 1998, Statistics in Medicine 17:891-908.

    Raises:
        ValueError: a negative count, no questions, or a level outside (0, 1).
    """
    check(table)
    z, n = z_of(level), table.n
    balance = table.candidate_only - table.baseline_only
    difference, method = balance / n, name_at(TANGO, level)
    if table.n_discordant == 0:
        half = z * z / (n + z * z)
        return Estimate(0.0, -half, half, method=method)
    if abs(balance) == n:
        low, high = sorted((difference * (n - z * z) / (n + z * z), difference))
        return Estimate(difference, low, high, method=method)

    def beyond(delta: float) -> float:
        return (balance - n * delta) ** 2 - z * z * score_variance(table, delta)

    low = optimize.brentq(beyond, -1.0, difference, xtol=1e-13)
    high = optimize.brentq(beyond, difference, 1.0, xtol=1e-13)
    return Estimate(difference, float(low), float(high), method=method)


def tango_z(table: PairedTable, delta: float) -> float:
    """Return Tango's score statistic of a true difference delta; positive above it.

    (b - c - n delta) / sqrt(n (2 q + delta (1 - delta))), where q is the most likely chance of
    "only the baseline" under delta; 0 where that is 0 / 0. Source: Tango 1998, as above.

    Raises:
        ValueError: a negative count, no questions, or delta outside [-1, 1].
    """
    check(table)
    if not -1.0 <= delta <= 1.0:
        raise ValueError(f"a difference of shares must lie in [-1, 1], got {delta!r}")
    distance = table.candidate_only - table.baseline_only - table.n * delta
    variance = score_variance(table, delta)
    if variance <= 0.0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def score_variance(table: PairedTable, delta: float) -> float:
    """Return the variance of b - c under a true difference delta, its nuisance at the likeliest."""
    n, b, c = table.n, table.candidate_only, table.baseline_only
    linear = -b - c + (2 * n - b + c) * delta
    constant = -c * delta * (1 - delta)
    root = math.sqrt(max(linear * linear - 8 * n * constant, 0.0))
    likeliest = (root - linear) / (4 * n)
    return max(n * (2 * likeliest + delta * (1 - delta)), 0.0)


def wald_difference(differences: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return the mean of paired differences with its normal interval, mean +- z sd / sqrt(n).

    For comparison with reports that print it: too short where few pairs are discordant, and of no
    width at all where none is. Source: the paired normal interval; Newcombe 1998, method 1, has
    n in place of n - 1 in the variance.

    Raises:
        ValueError: no questions, a difference that is not finite, or a level outside (0, 1).
    """
    method, z = name_at(WALD, level), z_of(level)
    array = np.asarray(differences, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a paired difference needs at least one question, got none")
    if not np.all(np.isfinite(array)):
        raise ValueError("paired differences must be finite; leave undefined questions out first")
    mean = float(array.mean())
    if array.size == 1:
        return Estimate(mean, method=method, reason="one question: no interval")
    half = z * spread_of(array) / math.sqrt(array.size)
    alike = "all questions alike: the interval has no width" if half == 0.0 else None
    return Estimate(mean, mean - half, mean + half, method=method, reason=alike)


def odds_ratio(table: PairedTable, level: float = LEVEL) -> Estimate:
    """Return the odds that a discordant pair favours the candidate, with the exact interval.

    b / c; infinite where only the candidate won any, undefined where no pair is discordant. The
    interval is Clopper-Pearson's of b among b + c, as odds: it holds 1 where McNemar's exact p is
    above 1 - level, except where the two tails of the test are unlike.
    Source: Breslow and Day 1980, section 5.2; Fagerland, Lydersen, Laake 2014, Statistics in
    Medicine 33:2850-2875.

    Raises:
        ValueError: a negative count, no questions, or a level outside (0, 1).
    """
    check(table)
    method = name_at(ODDS_RATIO, level)
    b, c = table.candidate_only, table.baseline_only
    if b + c == 0:
        return undefined("no discordant pair", method)
    low, high = (odds(share) for share in clopper_pearson(b, b + c, level))
    if c == 0:
        return Estimate(math.inf, low, math.inf, method=method, reason="no baseline-only question")
    return Estimate(b / c, low, high, method=method)


def odds(share: float) -> float:
    """Return share / (1 - share), infinite for 1."""
    return share / (1.0 - share) if share < 1.0 else math.inf


def check(table: PairedTable) -> None:
    """Refuse a table that no experiment gives.

    Raises:
        ValueError: a negative count, or no questions.
    """
    if min(table) < 0:
        raise ValueError(f"counts must be >= 0, got {tuple(table)!r}")
    if table.n == 0:
        raise ValueError("a paired table needs at least one question, got none")
