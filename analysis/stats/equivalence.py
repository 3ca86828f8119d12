"""That two arms are nearly equal, or that one is at most a little worse: what a large p never says.

Owns two one-sided tests (TOST) against a margin, and non-inferiority. Refuses to own the margin,
which is chosen before the data are seen, and tests of a difference (`paired`, `cluster`).

    tost_paired(PairedTable(400, 20, 22, 58), margin=0.03)     # shown=True: p=0.0260
    tost_means(differences, margin=0.03)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import NAN
from analysis.stats.bootstrap import spread_of
from analysis.stats.cluster import as_floats, share_bounds
from analysis.stats.paired import ALPHA, SMALLEST_P, PairedTable, tango_difference, tango_z
from analysis.stats.power import FEWEST

LEVEL = 1 - 2 * ALPHA  # of the interval that lies within the margin when both tests reject at 5%
SCORE = "TOST by Tango's paired score test"
T_TEST = "TOST by paired t of question differences"
BOUND = "TOST by exact binomial bound (fewer than 6 questions differ)"


class Equivalence(NamedTuple):
    """Whether a difference was shown to be within the margin, either way or downwards only.

    `p` is the larger of both one-sided p, `p_noninferior` the one against a loss of the margin;
    `low90` and `high90` are the 90% interval, which lies within the margin where `shown`.
    """

    p: float
    low90: float
    high90: float
    shown: bool
    method: str
    margin: float
    p_noninferior: float
    noninferior: bool
    reason: str | None = None  # why there is no p


def tost_paired(table: PairedTable, margin: float) -> Equivalence:
    """Test that candidate minus baseline lies within +-margin, single samples.

    Source: Schuirmann 1987, J. Pharmacokinetics and Biopharmaceutics 15:657-680 (two one-sided
    tests); Tango 1998, Statistics in Medicine 17:891-908 (the score test and the 90% interval).

    Raises:
        ValueError: a margin outside (0, 1), a negative count, or no questions.
    """
    check_margin(margin, below=1.0)
    interval = tango_difference(table, LEVEL)
    lower = float(stats.norm.sf(tango_z(table, -margin)))
    upper = float(stats.norm.cdf(tango_z(table, margin)))
    return judged((lower, upper), (interval.low, interval.high), SCORE, margin)


def tost_means(differences: Sequence[float] | NDArray[np.float64], margin: float) -> Equivalence:
    """Test that the mean of question differences lies within +-margin, several samples each.

    NaN, and nothing shown, where all differences are alike and not 0: their spread is unknown then.
    Where fewer than 6 questions differ t would show equivalence up to three times too often; as no
    score falls by more than 1, the exact binomial test that so few questions lose (gain) anything
    if the margin's share did stands in, which is never too small.
    Source: Schuirmann 1987, as above; statsmodels `DescrStatsW.ttost_mean` agrees.

    Raises:
        ValueError: a margin not above 0, no questions, one not finite, or fewer than 6 that
            differ of which one is outside [-1, 1].
    """
    check_margin(margin, below=math.inf)
    array = as_floats(differences)
    if np.count_nonzero(array) < FEWEST:
        lost, won = (int(np.count_nonzero(sign * array > 0.0)) for sign in (-1, 1))
        one_sided = [
            float(stats.binom.cdf(count, array.size, min(margin, 1.0))) for count in (lost, won)
        ]
        return judged((one_sided[0], one_sided[1]), share_bounds(array, LEVEL), BOUND, margin)
    mean = float(array.mean())
    error = spread_of(array) / math.sqrt(array.size)
    if error == 0.0:
        reason = "all question differences are alike: their spread is unknown"
        return Equivalence(NAN, NAN, NAN, False, T_TEST, margin, NAN, False, reason)
    freedom = array.size - 1
    lower = float(stats.t.sf((mean + margin) / error, freedom))
    upper = float(stats.t.cdf((mean - margin) / error, freedom))
    half = float(stats.t.isf(ALPHA, freedom)) * error
    return judged((lower, upper), (mean - half, mean + half), T_TEST, margin)


def judged(
    one_sided: tuple[float, float], interval: tuple[float, float], method: str, margin: float
) -> Equivalence:
    """Return the finding of two one-sided p-values, against a loss and against a gain."""
    p, p_loss = max(*one_sided, SMALLEST_P), max(one_sided[0], SMALLEST_P)
    return Equivalence(p, *interval, p < ALPHA, method, margin, p_loss, p_loss < ALPHA)


def check_margin(margin: float, below: float) -> None:
    """Refuse a margin that cannot be one, such as 3 for three points.

    Raises:
        ValueError: it lies outside (0, below).
    """
    if not 0.0 < margin < below:
        raise ValueError(f"the margin must lie in (0, {below:g}), as a share, got {margin!r}")
