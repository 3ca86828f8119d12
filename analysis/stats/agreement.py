"""Judges on the same items: how far they agree, beyond chance, and who won.

Owns raw agreement, unanimity, Cohen's and Fleiss' kappa and the sign test. A rating is any label;
items that a judge did not rate are left out by the caller, and counted there. Refuses to own what a
verdict is.

    ratings = [("A", "A", "B"), ("A", "A", "A")]     # (items, judges)
    fleiss_kappa(ratings, np.random.default_rng(1234))
    sign_test(wins=40, losses=22).p                  # 0.0301
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_cohens_kappa

from analysis.estimate import Estimate, undefined
from analysis.stats.bootstrap import interval_of_means, renamed
from analysis.stats.cluster import bootstrap_mean
from analysis.stats.paired import exact_p, mid_p
from analysis.stats.proportions import CLOPPER_PEARSON, proportion

COHEN, FLEISS = "Cohen's kappa, normal", "Fleiss' kappa"
RAW = "share of pairs of judges with equal ratings"
ONE_LABEL = "every rating is the same: agreement by chance is complete"

Ratings = Sequence[Sequence[str]]
"""A row for each item, with a rating of each judge."""


class SignTest(NamedTuple):
    """The two-sided exact p that wins and losses are as likely; ties are left out before."""

    p: float
    mid_p: float
    share: Estimate  # wins / (wins + losses), Clopper-Pearson


def sign_test(wins: int, losses: int) -> SignTest:
    """Test wins against losses; with neither, p = 1 and an undefined share.

    Source: Dixon and Mood 1946, JASA 41:557-566; the same as McNemar's exact test.

    Raises:
        ValueError: a negative count.
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"wins and losses must be >= 0, got {wins!r} and {losses!r}")
    share = proportion(wins, wins + losses, method=CLOPPER_PEARSON)
    if wins + losses == 0:
        return SignTest(1.0, 1.0, undefined("neither won any", CLOPPER_PEARSON))
    return SignTest(exact_p(wins, losses), mid_p(wins, losses), share)


def cohens_kappa(first: Sequence[str], second: Sequence[str]) -> Estimate:
    """Return Cohen's kappa of two judges over the same items, with its normal interval.

    Undefined where both gave one and the same label throughout. Source: Cohen 1960; interval by
    Fleiss, Cohen and Everitt 1969, Psychological Bulletin 72:323-327, through statsmodels.

    Raises:
        ValueError: no items, or unlike numbers of them.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"kappa needs the same items, got {len(first)} and {len(second)} ratings")
    labels = sorted({*first, *second})
    if len(labels) == 1:
        return undefined(ONE_LABEL, COHEN)
    place = {label: number for number, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))
    for one, other in zip(first, second, strict=True):
        table[place[one], place[other]] += 1
    with np.errstate(divide="ignore", invalid="ignore"):  # its z, which is not used, may be 0 / 0
        found = statsmodels_cohens_kappa(table)
    low, high = max(float(found.kappa_low), -1.0), min(float(found.kappa_upp), 1.0)
    return Estimate(float(found.kappa), low, high, method=COHEN)


def fleiss_kappa(ratings: Ratings, rng: np.random.Generator) -> Estimate:
    """Return Fleiss' kappa of two judges or more, with a bootstrap interval over items.

    Undefined where every rating is the same. Source: Fleiss 1971, Psychological Bulletin
    76:378-382; the value agrees with statsmodels `fleiss_kappa`.

    Raises:
        ValueError: no items, fewer than two judges, or an item that not all of them rated.
    """
    counts, n_judges = count_ratings(ratings)
    if counts.shape[1] == 1:
        return undefined(ONE_LABEL, FLEISS)
    agreed = np.sum(counts * (counts - 1), axis=1) / (n_judges * (n_judges - 1))
    columns = np.column_stack([agreed, counts / n_judges])

    def kappa(means: NDArray[np.float64]) -> NDArray[np.float64]:
        by_chance = np.sum(means[..., 1:] ** 2, axis=-1)
        return np.asarray((means[..., 0] - by_chance) / (1 - by_chance))

    return renamed(interval_of_means(columns, kappa, rng), "item", FLEISS)


def raw_agreement(ratings: Ratings, rng: np.random.Generator) -> Estimate:
    """Return the share of pairs of judges that agree, mean over items, with its interval.

    Raises:
        ValueError: no items, fewer than two judges, or an item that not all of them rated.
    """
    _, n_judges = count_ratings(ratings)
    n_pairs = n_judges * (n_judges - 1) // 2
    agreed = [sum(a == b for a, b in combinations(row, 2)) / n_pairs for row in ratings]
    return renamed(bootstrap_mean(agreed, rng), "item", RAW)


def unanimous_share(ratings: Ratings) -> Estimate:
    """Return the share of items that all judges rate alike, with Wilson's interval.

    Raises:
        ValueError: no items, fewer than two judges, or an item that not all of them rated.
    """
    count_ratings(ratings)
    return proportion(sum(len(set(row)) == 1 for row in ratings), len(ratings))


def count_ratings(ratings: Ratings) -> tuple[NDArray[np.float64], int]:
    """Return how often each label was given to each item, (items, labels), and the judges.

    Raises:
        ValueError: no items, fewer than two judges, or an item that not all of them rated.
    """
    if not ratings:
        raise ValueError("agreement needs at least one item, got none")
    n_judges = len(ratings[0])
    if n_judges < 2 or any(len(row) != n_judges for row in ratings):
        sizes = sorted({len(row) for row in ratings})
        raise ValueError(f"each item needs a rating of the same two judges or more, got {sizes}")
    labels = sorted({label for row in ratings for label in row})
    counts = [[row.count(label) for label in labels] for row in map(list, ratings)]
    return np.asarray(counts, dtype=np.float64), n_judges
