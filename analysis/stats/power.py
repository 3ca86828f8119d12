"""What a sample size can show: detectable difference, power, and the questions needed.

Owns planning for McNemar's test of single samples. Refuses to own the tests (`paired`) and means
of repeated samples (`cluster.detectable_mean_difference`).

    detectable_difference(PairedTable(300, 60, 40, 100))   # 0.0559: 80% power at n = 500
    exact_power(0.05, discordance=0.20, n=500)             # 0.680
    needed_n(0.05, discordance=0.20)                       # 626
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats

from analysis.estimate import Estimate, undefined
from analysis.stats.paired import ALPHA, PairedTable, check

POWER = 0.80
Z_ALPHA = float(stats.norm.isf(ALPHA / 2))
Z_POWER = float(stats.norm.isf(1 - POWER))
METHOD = "McNemar, two-sided 5%, power 80%"
FEWEST = 6  # questions that can show anything: 2 / 2**5 is above 5%
LARGEST_EXACT_N = 100_000  # the exact power takes time and memory in the discordant pairs


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
    discordance = table.n_discordant / table.n

    def lacking(difference: float) -> float:
        spread = max(discordance, difference)
        needed = Z_ALPHA * math.sqrt(spread) + Z_POWER * math.sqrt(spread - difference**2)
        return needed - difference * math.sqrt(table.n)

    if 2.0 * 0.5**table.n > ALPHA:
        return undefined(f"n={table.n} is too small to show any difference", METHOD)
    return Estimate(float(optimize.brentq(lacking, 1e-12, 1.0)), method=METHOD)


def needed_n(difference: float, discordance: float, power: float = POWER) -> Estimate:
    """Return how many questions McNemar's test needs to show a true difference with that power.

    At least 6; undefined where the difference is 0, since no number shows it.
    Source: Connor 1987, Biometrics 43:207-211.

    Raises:
        ValueError: a power outside (0, 1), or a discordance that the difference does not fit into.
    """
    check_truth(difference, discordance)
    if not 0.0 < power < 1.0:
        raise ValueError(f"power must lie in (0, 1), got {power!r}")
    method = f"McNemar, two-sided 5%, power {100 * power:g}%"
    if difference == 0.0:
        return undefined("no number of questions shows a difference of 0", method)
    z_power = float(stats.norm.isf(1 - power))
    spread = math.sqrt(max(discordance - difference**2, 0.0))
    root = (Z_ALPHA * math.sqrt(discordance) + z_power * spread) / abs(difference)
    return Estimate(float(max(math.ceil(root * root - 1e-9), FEWEST)), method=method)


def exact_power(difference: float, discordance: float, n: int) -> float:
    """Return the chance that McNemar's exact test of n questions rejects, in either direction.

    Over every number of discordant pairs and every split of them; a little below Connor's formula.
    Source: Duffy 1984, Biometrics 40:1005-1015.

    Raises:
        ValueError: n outside 1..100,000, or a discordance that the difference does not fit into.
    """
    check_truth(difference, discordance)
    if not 1 <= n <= LARGEST_EXACT_N:
        raise ValueError(f"the exact power takes 1..{LARGEST_EXACT_N} questions, got n={n!r}")
    if discordance == 0.0:
        return 0.0
    pairs = np.arange(n + 1)
    chances = stats.binom.pmf(pairs, n, discordance)
    one_way = min((discordance + difference) / (2 * discordance), 1.0)
    below = stats.binom.ppf(ALPHA / 2, pairs, 0.5)  # the largest split that may just be too many
    below = np.where(stats.binom.cdf(below, pairs, 0.5) > ALPHA / 2, below - 1, below)
    rejects = stats.binom.cdf(below, pairs, one_way) + stats.binom.cdf(below, pairs, 1 - one_way)
    return float(np.clip(np.sum(chances * rejects), 0.0, 1.0))


def check_truth(difference: float, discordance: float) -> None:
    """Refuse a truth that cannot be.

    Raises:
        ValueError: the discordance lies outside [0, 1], or is smaller than the difference.
    """
    if not 0.0 <= discordance <= 1.0:
        raise ValueError(f"discordance must lie in [0, 1], got {discordance!r}")
    if not abs(difference) <= discordance:
        raise ValueError(
            f"a difference of {difference!r} needs a discordance of at least as much, "
            f"got {discordance!r}"
        )
