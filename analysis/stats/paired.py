"""Two arms on the same questions, one binary verdict each: tests and intervals from a 2x2 table.

Owns `PairedTable` and what is computed from it: McNemar's test, its mid-p form, Newcombe's interval
of the difference, and the smallest difference that the sample could have shown. Refuses to own
repeated samples (`cluster`) and several tests at once (`multiplicity`).

    table = PairedTable(both=12, candidate_only=1, baseline_only=8, neither=9)
    mcnemar(table)          # McNemar(p=0.0391, rule="exact", exact_p=0.0391, mid_p=0.0215)
    newcombe_difference(table)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from analysis.estimate import Estimate, undefined
from analysis.stats.proportions import wilson_interval

EXACT_BELOW = 25  # discordant pairs; the rule of the published reports
EXACT = "exact"
CHI2 = "chi2 with continuity correction"
SMALLEST_P = 1e-300  # what a smaller p is given as: none is 0
ALPHA = 0.05
POWER = 0.80
Z_ALPHA = float(stats.norm.isf(ALPHA / 2))
Z_POWER = float(stats.norm.isf(1 - POWER))


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


def newcombe_difference(table: PairedTable) -> Estimate:
    """Return candidate minus baseline with Newcombe's 95% interval, within [-1, 1].

    Source: Newcombe 1998, Statistics in Medicine 17:2635-2650, method 10: Wilson limits of the two
    margins joined with the continuity-corrected phi. statsmodels 0.14 and 0.15 have no paired form.

    Raises:
        ValueError: a negative count, or no questions.
    """
    check(table)
    n = table.n
    n_candidate, n_baseline = table.both + table.candidate_only, table.both + table.baseline_only
    candidate, baseline = n_candidate / n, n_baseline / n
    candidate_low, candidate_high = wilson_interval(n_candidate, n)
    baseline_low, baseline_high = wilson_interval(n_baseline, n)
    phi = corrected_phi(table)
    difference = (table.candidate_only - table.baseline_only) / n
    below = reach(candidate - candidate_low, baseline_high - baseline, phi)
    above = reach(candidate_high - candidate, baseline - baseline_low, phi)
    return Estimate(
        difference,
        max(difference - below, -1.0),
        min(difference + above, 1.0),
        method="Newcombe paired (method 10)",
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


def detectable_difference(table: PairedTable) -> Estimate:
    """Return the smallest true difference that this many questions show with 80% power.

    Solves Connor's sample-size formula of McNemar's test for the difference, with the discordance
    that was observed; where even a wholly one-sided discordance of that size would not be enough,
    the discordance grows with the difference. Asymptotic: the exact test needs a little more, and
    below 6 questions it can show nothing, as 2 / 2**5 is above 5%.
    Source: Connor 1987, Biometrics 43:207-211.

    Raises:
        ValueError: a negative count, or no questions.
    """
    check(table)
    method = "McNemar, two-sided 5%, power 80%"
    discordance = table.n_discordant / table.n

    def lacking(difference: float) -> float:
        spread = max(discordance, difference)
        needed = Z_ALPHA * math.sqrt(spread) + Z_POWER * math.sqrt(spread - difference**2)
        return needed - difference * math.sqrt(table.n)

    if 2.0 * 0.5**table.n > ALPHA:
        return undefined(f"n={table.n} is too small to show any difference", method)
    return Estimate(float(optimize.brentq(lacking, 1e-12, 1.0)), method=method)


def check(table: PairedTable) -> None:
    """Refuse a table that no experiment gives.

    Raises:
        ValueError: a negative count, or no questions.
    """
    if min(table) < 0:
        raise ValueError(f"counts must be >= 0, got {tuple(table)!r}")
    if table.n == 0:
        raise ValueError("a paired table needs at least one question, got none")
