"""How often each arm was said to show more effort, with intervals and the sign test.

Owns which estimator a set of verdicts gets. Refuses to own the estimators (`analysis.stats`), the
verdicts (`ballots`) and tables.

    standing(by_majority(ballots), rng).candidate      # the share of pairs, with its interval
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.estimate import NAN, Estimate
from analysis.items import BASELINE, CANDIDATE
from analysis.judge.ballots import (
    SIGN,
    Said,
    none_said,
    questions,
    repeated,
    wins_and_losses,
)
from analysis.judge.replies import NEITHER
from analysis.stats.agreement import sign_test
from analysis.stats.cluster import bootstrap_mean
from analysis.stats.paired import PairedTable, newcombe_difference
from analysis.stats.proportions import proportion

SIGN_TEST = "exact two-sided sign test, a vote for each question"


class Standing(NamedTuple):
    """The shares of the three verdicts over `n` pairs, their difference, and its test.

    `difference` is the candidate's share minus the baseline's. `wins` and `losses` are questions.
    """

    n: int
    candidate: Estimate
    baseline: Estimate
    similar: Estimate
    difference: Estimate
    wins: int
    losses: int
    p: float


def standing(said: Sequence[Said], seed: Sequence[int]) -> Standing:
    """Return the standing of a set of verdicts; all is undefined where there are none.

    One pair a question: Wilson's intervals, Newcombe's for the difference (a pair's verdict is a
    win of one arm, of the other, or of none), and the sign test over the pairs. Several: bootstrap
    over questions, and one vote a question.
    """
    if not said:
        nothing = none_said()
        return Standing(0, nothing, nothing, nothing, nothing, 0, 0, NAN)
    wins, losses = wins_and_losses(said)
    return Standing(
        n=len(said),
        candidate=share(said, CANDIDATE, seed),
        baseline=share(said, BASELINE, seed),
        similar=share(said, NEITHER, seed),
        difference=difference(said, seed),
        wins=wins,
        losses=losses,
        p=sign_test(wins, losses).p,
    )


def share(said: Sequence[Said], verdict: str, seed: Sequence[int]) -> Estimate:
    """Return the share of the pairs that got a verdict."""
    if not repeated(said):
        return proportion(sum(one.verdict == verdict for one in said), len(said))
    found = [[sign == SIGN[verdict] for sign in signs] for signs in questions(said).values()]
    means = [float(np.mean(own)) for own in found]
    return bootstrap_mean(means, np.random.default_rng(seed))


def difference(said: Sequence[Said], seed: Sequence[int]) -> Estimate:
    """Return the candidate's share minus the baseline's."""
    verdicts = [one.verdict for one in said]
    if repeated(said):
        means = [float(np.mean(signs)) for signs in questions(said).values()]
        return bootstrap_mean(means, np.random.default_rng(seed))
    counts = [verdicts.count(verdict) for verdict in (CANDIDATE, BASELINE, NEITHER)]
    return newcombe_difference(PairedTable(0, *counts))
