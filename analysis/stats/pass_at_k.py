"""Several samples a question: avg@k, pass@k, G-Pass@k and maj@k of each question.

Owns what k of n samples would have given, one value a question, NaN where there are fewer than k.
The score of a benchmark is their mean, with the interval of `cluster.bootstrap_mean`. Refuses to
own the extraction of answers, and when two answers are the same: they are if their texts are.

    pass_at_k([4, 4, 2], [1, 0, 2], k=2)           # [0.5, 0.0, 1.0]
    maj_at_k(["7", "7", "9"], [1.0, 1.0, 0.0])     # 1.0
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import NAN

LARGEST_N = 1_000  # samples a question: the ways to choose among more leave a double's range

Floats = NDArray[np.float64]


def avg_at_k(n: ArrayLike, c: ArrayLike, k: int) -> Floats:
    """Return c / n, the mean score of k samples of each question; NaN where n < k.

    `c` is the sum of the scores of the n samples, and need not be whole. All n samples are used,
    as the mean over every choice of k among them is the same.

    Raises:
        ValueError: k below 1, or c outside 0..n.
    """
    samples, solved = np.broadcast_arrays(np.asarray(n, float), np.asarray(c, float))
    check_counts(samples, solved, k)
    means = solved / np.where(samples > 0, samples, NAN)
    return np.where(samples < k, NAN, means)[()]


def pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> Floats:
    """Return the chance that any of k samples is correct, when c of n were; NaN where n < k.

    1 - C(n - c, k) / C(n, k): unbiased, unlike 1 - (1 - c / n)^k. One value a question.
    Source: Chen et al. 2021, arXiv:2107.03374, equation 1.

    Raises:
        ValueError: k below 1, a count that is not whole, or c outside 0..n.
    """
    return of_each(n, c, k, lambda one, solved: at_least(1, one, solved, k))


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: int, tau: float) -> Floats:
    """Return the chance that at least tau k of k samples are correct; NaN where n < k.

    tau = 1: all of them, also called pass^k. The number is rounded up, and is at least 1.
    Source: Liu et al. 2024, arXiv:2412.13147 (the tail of the hypergeometric).

    Raises:
        ValueError: tau outside (0, 1], k below 1, a count that is not whole, or c outside 0..n.
    """
    if not 0.0 < tau <= 1.0:
        raise ValueError(f"tau must lie in (0, 1], got {tau!r}")
    least = max(math.ceil(tau * k - 1e-9), 1)  # 0.28 * 25 is 7.000000000000001
    return of_each(n, c, k, lambda one, solved: at_least(least, one, solved, k))


def mean_g_pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> Floats:
    """Return mG-Pass@k: 2 / k times the sum of G-Pass@k over more than half up to all of k.

    NaN where n < k, and for k = 1 (the published sum is empty there). The published form is kept
    for an odd k too, where a question solved every time gets (k - 1) / k: compare even k.
    Source: Liu et al. 2024, arXiv:2412.13147.

    Raises:
        ValueError: k below 1, a count that is not whole, or c outside 0..n.
    """
    wanted = range(math.ceil(k / 2) + 1, k + 1)

    def value(samples: int, solved: int) -> float:
        return 2 / k * sum(at_least(least, samples, solved, k) for least in wanted)

    return of_each(n, c, k, value if k != 1 else lambda samples, solved: NAN)


def at_least(least: int, n: int, c: int, k: int) -> float:
    """Return the chance that k of n samples hold at least so many of the c correct ones."""
    ways = sum(math.comb(c, hits) * math.comb(n - c, k - hits) for hits in range(least, k + 1))
    return ways / math.comb(n, k)


def of_each(n: ArrayLike, c: ArrayLike, k: int, value: Callable[[int, int], float]) -> Floats:
    """Return value(n, c) of each question, NaN where n < k; equal questions are computed once.

    Raises:
        ValueError: k below 1, a count that is not whole or above 1,000, or c outside 0..n.
    """
    samples, solved = np.broadcast_arrays(np.asarray(n, float), np.asarray(c, float))
    check_counts(samples, solved, k)
    if np.any(samples % 1) or np.any(solved % 1):
        raise ValueError("pass@k counts whole samples and whole passes; see avg_at_k for scores")
    if samples.size and samples.max() > LARGEST_N:
        raise ValueError(f"up to {LARGEST_N} samples a question, got {samples.max():g}")
    rows = np.stack([samples.ravel(), solved.ravel()], axis=1)
    unlike, place = np.unique(rows, axis=0, return_inverse=True)
    values = [NAN if one < k else value(int(one), int(passed)) for one, passed in unlike]
    return np.asarray(values, float)[place.ravel()].reshape(samples.shape)[()]


def check_counts(samples: Floats, solved: Floats, k: int) -> None:
    """Refuse counts that no sampling gives.

    Raises:
        ValueError: k below 1, or c outside 0..n.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    bad = ~((solved >= 0) & (solved <= samples))  # NaN is bad too
    if np.any(bad):
        raise ValueError(f"c must lie in 0..n, got c={solved[bad][0]:g} of n={samples[bad][0]:g}")


def maj_at_k(answers: Sequence[str | None], scores: Sequence[float], k: int | None = None) -> float:
    """Return the expected score of the most frequent answer among k samples of a question.

    Ties give the mean score of the tied answers. Empty answers (None, or blank) have no vote, and
    where all k are empty the score is 0. `k` is all n samples if not given; below n the value is
    the exact mean over every choice of k of them, so nothing is drawn. NaN where n < k. Also
    called cons@k. An answer's score is the mean over the samples that gave it.
    Source: Wang et al. 2022, arXiv:2203.11171 (majority vote); ties and empty answers as in
    DeepSeek-R1's cons@64 and the rule of docs/statistics.md.

    Raises:
        ValueError: no samples, more than 1,000, k below 1, or answers and scores of unlike number.
    """
    n = len(answers)
    if n == 0 or n > LARGEST_N or len(scores) != n:
        raise ValueError(
            f"a majority needs 1..{LARGEST_N} answers and as many scores, "
            f"got {n} answers and {len(scores)} scores"
        )
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    if k is not None and k > n:
        return NAN
    given = [(answer or "").strip() for answer in answers]
    votes = Counter(answer for answer in given if answer)
    totals: dict[str, float] = dict.fromkeys(votes, 0.0)
    for answer, score in zip(given, scores, strict=True):
        if answer:
            totals[answer] += float(score)
    means: dict[int, list[float]] = {}  # the answers' scores by their number of votes
    for answer, count in votes.items():
        means.setdefault(count, []).append(totals[answer] / count)
    if not means:
        return 0.0
    if k is None or k == n:
        return float(np.mean(means[max(means)]))
    return expected_majority(means, n, k)


def expected_majority(means: dict[int, list[float]], n: int, k: int) -> float:
    """Return the mean score of the majority answer over every choice of k of n samples."""
    counts = tuple(sorted((count, len(scores)) for count, scores in means.items()))
    chances = win_chances(counts, n, k)
    return sum(
        chance * sum(means[count]) for (count, _), chance in zip(counts, chances, strict=True)
    )


@functools.lru_cache(maxsize=10_000)
def win_chances(counts: tuple[tuple[int, int], ...], n: int, k: int) -> tuple[float, ...]:
    """Return the chance to win of an answer of each number of samples, a tie of t counting 1 / t.

    `counts` has numbers of samples, and how many answers have that many. For each number of votes
    among the k: in how many choices every other answer has fewer, or as many, which is a tie.
    """
    silent = n - sum(count * answers for count, answers in counts)
    chances = []
    for count, _ in counts:
        others = [other for other, answers in counts for _ in range(answers - (other == count))]
        won = sum(
            math.comb(count, votes) * shared_wins(others, silent, votes, k - votes)
            for votes in range(1, min(count, k) + 1)
        )
        chances.append(won / math.comb(n, k))
    return tuple(chances)


def shared_wins(others: Sequence[int], silent: int, votes: int, left: int) -> float:
    """Return in how many choices of `left` further samples an answer with so many votes wins.

    Where it ties with t others the choice counts 1 / (t + 1).
    """
    most = left // votes  # others that can tie
    ways = np.zeros((most + 1, left + 1))  # (ties, samples chosen)
    ways[0, : silent + 1] = [float(math.comb(silent, j)) for j in range(min(silent, left) + 1)]
    for other in others:
        longer = np.zeros_like(ways)
        for chosen in range(min(other, votes - 1, left) + 1):
            longer[:, chosen:] += math.comb(other, chosen) * ways[:, : left + 1 - chosen]
        if votes <= min(other, left):
            tied = ways[:-1, : left + 1 - votes]
            longer[1:, votes:] += math.comb(other, votes) * tied
        ways = longer
    return float(np.sum(ways[:, left] / np.arange(1, most + 2)))
