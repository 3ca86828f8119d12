"""Two runs of a series on the questions that both answered: their difference and its test.

Owns the choice of the estimator, as `compare` has it for two arms: McNemar and Newcombe for single
samples, bootstrap and sign-flip for means of several. Refuses to own the estimators.

    difference(series.by_question("distilled", task), series.by_question("recovered", task), rng)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.compare import SIGN_FLIP
from analysis.estimate import NAN, Estimate, undefined
from analysis.series.form import ONLY_SCORES, Difference, Score
from analysis.stats import cluster
from analysis.stats.paired import PairedTable, mcnemar, newcombe_difference

Means = Mapping[int | str, float]


def difference(baseline: Means, candidate: Means, rng: np.random.Generator) -> Difference:
    """Return candidate minus baseline over the questions of both, with its test."""
    couples = [(baseline[doc], candidate[doc]) for doc in candidate if doc in baseline]
    if not couples:
        return Difference(undefined("no question graded in both runs"), NAN, "")
    if all(score in (0.0, 1.0) for couple in couples for score in couple):
        table = PairedTable(
            both=couples.count((1.0, 1.0)),
            candidate_only=couples.count((0.0, 1.0)),
            baseline_only=couples.count((1.0, 0.0)),
            neither=couples.count((0.0, 0.0)),
        )
        test = mcnemar(table)
        return Difference(newcombe_difference(table), test.p, f"McNemar {test.rule}")
    moved = [b - a for a, b in couples]
    return Difference(
        cluster.bootstrap_difference(moved, rng), cluster.sign_flip_p(moved, rng), SIGN_FLIP
    )


def of_scores(baseline: Score, candidate: Score) -> Difference:
    """Return candidate minus baseline where nothing but the scores is known."""
    value = float(candidate.value - baseline.value)
    return Difference(Estimate(value, reason=ONLY_SCORES), NAN, "")
