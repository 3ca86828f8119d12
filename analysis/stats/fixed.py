"""Scores against one number that is taken as known, such as a published score.

Owns the test of a mean over questions against a fixed rate. Refuses to own two samples (`paired`,
`seeds`), and whether the number is to be believed.

    against_fixed([1, 0, 1, 1], 0.839).p
"""

from __future__ import annotations

from typing import NamedTuple

from scipy import stats

from analysis.estimate import NAN
from analysis.stats.cluster import Values, as_floats
from analysis.stats.paired import SMALLEST_P

BINOMIAL = "exact binomial"
ONE_SAMPLE = "one-sample t of question means"


class Against(NamedTuple):
    """The two-sided p that the questions' mean is the rate, and the test; a missing p says why."""

    p: float
    rule: str
    reason: str | None = None


def against_fixed(question_means: Values, rate: float) -> Against:
    """Test the mean of questions against a rate: exact for single verdicts, else Student's t.

    The rate counts as known without error. Source: Clopper and Pearson 1934 (two-sided binomial,
    through scipy `binomtest`); Student 1908 (through scipy `ttest_1samp`).

    Raises:
        ValueError: no questions, or a rate outside [0, 1].
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"the rate must lie in [0, 1], got {rate!r}")
    means = as_floats(question_means)
    if all(mean in (0.0, 1.0) for mean in means.tolist()):
        found = stats.binomtest(int(means.sum()), means.size, rate)
        return Against(max(float(found.pvalue), SMALLEST_P), BINOMIAL)
    if means.size < 2 or means.std(ddof=1) == 0.0:
        return Against(NAN, ONE_SAMPLE, "all questions alike: their spread is unknown")
    p = float(stats.ttest_1samp(means, rate).pvalue)
    return Against(min(max(p, SMALLEST_P), 1.0), ONE_SAMPLE)
