"""What the judges' votes on each pair add up to: one verdict a pair, by majority.

Owns the majority and the agreement of a pair, and the votes in the forms in which tests take them.
Refuses to own estimators (`analysis.stats`), a single judge's vote (`replies`) and tables.

    ballot = Ballot(pair, {"one": Vote("consistent", "candidate"), "two": Vote("malformed", None)})
    ballot.verdict          # "candidate": the one vote that there is
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from analysis.estimate import Estimate, undefined
from analysis.items import BASELINE, CANDIDATE
from analysis.judge.pairs import Pair
from analysis.judge.replies import NEITHER, Vote
from analysis.stats.cluster import bootstrap_mean
from analysis.stats.proportions import proportion

ALONE = "no pair with two votes"
SIGN = {CANDIDATE: 1, BASELINE: -1, NEITHER: 0}
MATCHED = 0.10  # lengths that differ by less than this share of the longer one count as equal


class Said(NamedTuple):
    """One verdict on one pair, by a judge or by the majority."""

    pair: Pair
    verdict: str

    @property
    def log2_ratio(self) -> float:
        """Return log2 of the candidate's length over the baseline's."""
        return math.log2(self.pair.candidate.n_chars / self.pair.baseline.n_chars)

    @property
    def won(self) -> bool | None:
        """Say whether the candidate was preferred; None where neither was."""
        return None if self.verdict == NEITHER else self.verdict == CANDIDATE

    @property
    def matched(self) -> bool:
        """Say whether both texts are about equally long."""
        sizes = self.pair.baseline.n_chars, self.pair.candidate.n_chars
        return max(sizes) - min(sizes) < MATCHED * max(sizes)

    @property
    def longer_won(self) -> bool | None:
        """Say whether the longer text was preferred; None where there is no such text."""
        if self.won is None or self.log2_ratio == 0:
            return None
        return self.won == (self.log2_ratio > 0)


@dataclass(frozen=True)
class Ballot:
    """All votes on a pair, by the judge's name."""

    pair: Pair
    votes: Mapping[str, Vote]

    @cached_property
    def given(self) -> list[str]:
        """Return the verdicts that judges gave; malformed replies and failures are none."""
        return [vote.verdict for vote in self.votes.values() if vote.verdict is not None]

    @property
    def verdict(self) -> str | None:
        """Return the verdict with most votes, "neither" in a tie; None where nobody voted."""
        return majority(self.given)

    @property
    def agreement(self) -> float | None:
        """Return the share of the votes that the most frequent verdict has; None below two votes.

        Two of three judges of one mind make 0.667. The published "mean judge agreement" is the
        mean of this over pairs: 0.953 where 86% of the pairs are unanimous, the others two to one.
        """
        if len(self.given) < 2:
            return None
        return max(Counter(self.given).values()) / len(self.given)

    @property
    def unanimous(self) -> bool | None:
        """Say whether all votes are alike; None below two votes."""
        return None if self.agreement is None else self.agreement == 1.0


def majority(verdicts: Sequence[str]) -> str | None:
    """Return the verdict with more votes than any other, "neither" in a tie, None without votes."""
    if not verdicts:
        return None
    ranked = Counter(verdicts).most_common(2)
    tied = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    return NEITHER if tied else ranked[0][0]


def by_majority(ballots: Sequence[Ballot]) -> list[Said]:
    """Return the majority's verdicts."""
    return [Said(one.pair, one.verdict) for one in ballots if one.verdict is not None]


def by_judge(ballots: Sequence[Ballot], judge: str) -> list[Said]:
    """Return one judge's verdicts."""
    votes = ((one.pair, one.votes[judge].verdict) for one in ballots)
    return [Said(pair, verdict) for pair, verdict in votes if verdict is not None]


def questions(said: Sequence[Said]) -> dict[tuple[str, int | str], list[int]]:
    """Return each question's verdicts as +1 for the candidate, -1 for the baseline, 0."""
    signs: dict[tuple[str, int | str], list[int]] = defaultdict(list)
    for pair, verdict in said:
        signs[pair.cluster].append(SIGN[verdict])
    return signs


def wins_and_losses(said: Sequence[Said]) -> tuple[int, int]:
    """Return how many questions lean to the candidate and how many to the baseline.

    A question leans by the sum of its samples' verdicts, so that k samples count as one.
    """
    sums = [sum(signs) for signs in questions(said).values()]
    return sum(one > 0 for one in sums), sum(one < 0 for one in sums)


def repeated(said: Sequence[Said]) -> bool:
    """Say whether a question stands with more than one sample."""
    return len(questions(said)) < len(said)


def mean_agreement(ballots: Sequence[Ballot], rng: np.random.Generator) -> Estimate:
    """Return the mean agreement over the ballots with two votes or more."""
    told = [one.agreement for one in ballots if one.agreement is not None]
    return bootstrap_mean(told, rng) if told else undefined(ALONE)


def unanimity(ballots: Sequence[Ballot]) -> Estimate:
    """Return the share of unanimous ballots among those with two votes or more."""
    told = [one.unanimous for one in ballots if one.unanimous is not None]
    return proportion(sum(told), len(told)) if told else undefined(ALONE)


def none_said() -> Estimate:
    """Return the estimate of what nobody was heard about."""
    return undefined("no pair with a verdict")
