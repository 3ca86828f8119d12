"""The best of several is not as good as it looks: what a choice by score adds to the chosen score.

Owns the expected optimism of picking the best of some candidates, and how stable the pick is.
Refuses to own which candidate is taken (the caller's rule, which must be "the first of the best").

    out_of_bag(scores, np.random.default_rng(1234))   # scores: (questions, candidates)
    optimism_of_counts(0.8, [100, 100, 100])          # where only n is known
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.estimate import Estimate, undefined

N_RESAMPLES = 4_999
BATCH = 512  # resamples held at once
OUT_OF_BAG = "question bootstrap, chosen in the bag, scored out of it"
COUNTS = "largest of independent binomials of one rate"

Floats = NDArray[np.float64]


class Picked(NamedTuple):
    """What picking the best of some candidates by these questions is worth.

    `corrected` is the score to expect of the pick on new questions, `optimism` by how much its
    score on these is above that; `gain` is the corrected difference to a reference on the same
    questions. `shares` says how often each candidate is picked in the resamples.
    """

    corrected: Estimate
    optimism: Estimate
    gain: Estimate
    shares: tuple[float, ...]


def out_of_bag(scores: Floats, rng: np.random.Generator, reference: Floats | None = None) -> Picked:
    """Pick anew in each resample of the questions, and score the pick on the questions left out.

    `scores` has a row for each question and a column for each candidate (questions, candidates);
    of equal means the first column is picked. Source: Tsamardinos, Greasidou and Borboudakis 2018,
    Machine Learning 107:1895-1922 (BBC-CV), with candidates' scores in place of predictions; the
    interval is theirs too, the percentiles of the scores left out.

    Raises:
        ValueError: no candidate.
    """
    n, n_candidates = scores.shape
    if n_candidates == 0:
        raise ValueError("a choice needs at least one candidate, got none")
    if n < 2:
        missing = undefined("fewer than two questions: none can be left out", OUT_OF_BAG)
        return Picked(missing, missing, missing, tuple([float("nan")] * n_candidates))
    base = np.zeros(n) if reference is None else np.asarray(reference, dtype=np.float64)
    picks, left, gains = [], [], []
    for size in [BATCH] * (N_RESAMPLES // BATCH) + [N_RESAMPLES % BATCH]:
        weights = rng.multinomial(n, np.full(n, 1.0 / n), size).astype(np.float64)
        out = (weights == 0).astype(np.float64)  # (resamples, questions)
        kept = out.sum(axis=1) > 0  # two questions may both be in the bag
        weights, out = weights[kept], out[kept]
        pick = (weights @ scores).argmax(axis=1)
        n_out = out.sum(axis=1)
        at = np.arange(pick.size)
        picks.append(pick)
        left.append((out @ scores)[at, pick] / n_out)
        gains.append(left[-1] - out @ base / n_out)
    chosen = int(scores.mean(axis=0).argmax())
    corrected = percentiles(np.concatenate(left))
    apparent = float(scores[:, chosen].mean())
    shares = np.bincount(np.concatenate(picks), minlength=n_candidates) / sum(map(len, picks))
    return Picked(
        corrected,
        Estimate(apparent - corrected.value, method=OUT_OF_BAG, reason="an expectation"),
        undefined("no baseline on these questions", OUT_OF_BAG)
        if reference is None
        else percentiles(np.concatenate(gains)),
        tuple(float(share) for share in shares),
    )


def percentiles(values: Floats) -> Estimate:
    """Return the mean of resampled figures with the middle 95% of them."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), method=OUT_OF_BAG)


def optimism_of_counts(rate: float, sizes: Sequence[int]) -> Estimate:
    """Return by how much the best of equally good candidates exceeds their common rate, on average.

    Each answers `sizes` questions of its own: E max(X_i / n_i) - rate, exactly, from the product of
    the distributions. Candidates that answered the same questions rise and fall together, which
    makes the true optimism smaller; that candidates differ makes it smaller too.
    Source: David and Nagaraja 2003, Order Statistics, section 3.1.

    Raises:
        ValueError: no candidate, no question, or a rate outside [0, 1].
    """
    if not sizes or min(sizes) <= 0:
        raise ValueError(f"each candidate needs at least one question, got sizes {list(sizes)!r}")
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"the common rate must lie in [0, 1], got {rate!r}")
    grid = np.unique(np.concatenate([np.arange(n + 1) / n for n in set(sizes)]))
    below = np.ones(grid.size - 1)  # P(all scores <= grid[i]), for all but the last
    for n in sizes:
        below *= stats.binom.cdf(np.floor(grid[:-1] * n + 1e-9), n, rate)
    expected = float(((1.0 - below) * np.diff(grid)).sum())
    return Estimate(max(expected - rate, 0.0), method=COUNTS, reason="an expectation, at most")
