"""The median of skewed sizes, with an interval that assumes no distribution.

Owns order statistics. Refuses to own means (`cluster`) and their ratios (`ratios`).

    median([120, 80, 4000, 95, 110, 130, 90])     # 110, from 80 to 4000
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from analysis.estimate import Estimate
from analysis.stats.cluster import Floats, as_floats
from analysis.stats.paired import ALPHA

METHOD = "median, exact interval of order statistics"


def median(values: Sequence[float] | Floats) -> Estimate:
    """Return the median with its 95% interval, at least 95% whatever the distribution is.

    Each value lies below the true median with chance 1/2, so that the number below is binomial.
    Below 6 values no two of them enclose it with that certainty.
    Source: Conover 1999, Practical Nonparametric Statistics, section 3.2.

    Raises:
        ValueError: no values.
    """
    ordered = np.sort(as_floats(values))
    middle = float(np.median(ordered))
    below = int(stats.binom.ppf(ALPHA / 2, ordered.size, 0.5))  # P(fewer than that) <= 2.5%
    if below == 0:
        return Estimate(middle, method=METHOD, reason="fewer than 6 questions: no interval")
    return Estimate(middle, float(ordered[below - 1]), float(ordered[-below]), method=METHOD)
