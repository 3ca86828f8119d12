"""The pairs that judges are asked about: both arms' completions of one sample.

Owns which pairs those are (all, or a sample stratified by benchmark), and what of a completion is
shown. Refuses to own the words around it (`words`) and the reading of files (`reading.texts`).

A smaller limit's pairs are among a larger one's: what was asked before is not asked again.

    chosen = choose(comparison.items, limit=200, seed=1234)
    pairs, left_out = with_texts(comparison, chosen, WHOLE)
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from analysis.items import BASELINE, CANDIDATE, Item
from analysis.judge.words import ask, nonce_of, speaks_to_judge
from analysis.reading.texts import Shown, Text, read_texts

if TYPE_CHECKING:
    from analysis.compare import Comparison

WHOLE, ANSWER = "whole", "answer"
PARTS = (WHOLE, ANSWER)
BOTH_CORRECT, BOTH_WRONG = "both correct", "both wrong"
GAINED, LOST = "only distilled correct", "only baseline correct"
UNGRADED = "a grader failed"
BUCKETS = (BOTH_CORRECT, BOTH_WRONG, GAINED, LOST, UNGRADED)

Couple = tuple[Item, Item]  # baseline first


@dataclass(frozen=True)
class Side:
    """One arm's part of a pair: what the judge is shown of it, and what a report says of it."""

    text: str
    truncated: bool
    speaks: bool  # it holds what speaks for a judge or to one

    @property
    def n_chars(self) -> int:
        """Return the length of what is shown."""
        return len(self.text)


@dataclass(frozen=True)
class Pair:
    """Two completions of one sample of one question."""

    task: str
    doc_id: int | str
    sample_index: int
    name: str
    question: str
    bucket: str
    baseline: Side
    candidate: Side

    @property
    def id(self) -> str:
        """Name the pair within a comparison."""
        return f"{self.task}/{self.doc_id!r}/{self.sample_index}"  # 1 and "1" are two docs

    @property
    def cluster(self) -> tuple[str, int | str]:
        """Name the question, whose samples are no independent evidence."""
        return self.task, self.doc_id

    @property
    def speaks(self) -> bool:
        """Say whether either side speaks for a judge or to one."""
        return self.baseline.speaks or self.candidate.speaks

    def messages(self, order: int) -> list[dict[str, str]]:
        """Return what a judge is asked: 0 shows the baseline as A, 1 the candidate."""
        texts = self.baseline.text, self.candidate.text
        nonce = nonce_of(self.question, *texts)
        a, b = texts if order == 0 else texts[::-1]
        return ask(self.question, a, b, nonce)


class LeftOut(NamedTuple):
    """Pairs that nobody is asked about: a side shows no text at all."""

    task: str
    why: str
    n: int


def choose(items: Iterable[Item], limit: int | None, seed: int) -> list[Couple]:
    """Return the couples to judge, in the order of the items; all where there is no limit.

    Each task gives in proportion to its couples, drawn by a seed of its own. A couple's turn is
    (its rank + 1/2) / the task's couples, and the first `limit` turns are taken.
    Source: the method of Webster and Sainte-Laguë, by which no task loses when the limit grows.

    Raises:
        ValueError: a limit below 1.
    """
    rows = iter(items)
    couples = list(zip(rows, rows, strict=True))
    if limit is None:
        return couples
    if limit < 1:
        raise ValueError(f"--limit must be at least 1, got {limit}")
    places: dict[str, list[int]] = defaultdict(list)
    for place, (baseline, _) in enumerate(couples):
        places[baseline.task].append(place)
    turns: list[tuple[float, int]] = []
    for task, own in places.items():
        rng = np.random.default_rng([seed, zlib.crc32(task.encode())])
        drawn = rng.permutation(len(own))
        turns += [((rank + 0.5) / len(own), own[at]) for rank, at in enumerate(drawn.tolist())]
    taken = sorted(place for _, place in sorted(turns)[:limit])
    return [couples[place] for place in taken]


def with_texts(
    comparison: Comparison, couples: Sequence[Couple], part: str
) -> tuple[list[Pair], list[LeftOut]]:
    """Return the pairs with their texts, and those that have none to show."""
    pairs: list[Pair] = []
    lacking: Counter[tuple[str, str]] = Counter()
    by_task: dict[str, list[Couple]] = defaultdict(list)
    for couple in couples:
        by_task[couple[0].task].append(couple)
    for task, own in by_task.items():
        rows = [
            read_texts(comparison, task, arm, {couple[at].row for couple in own})
            for at, arm in enumerate((BASELINE, CANDIDATE))
        ]
        for couple in own:
            found = [held.get(item.row) for held, item in zip(rows, couple, strict=True)]
            texts = [text_of(one, item, part) for one, item in zip(found, couple, strict=True)]
            blank = [arm for arm, text in zip(("baseline", "distilled"), texts, strict=True)
                     if not text.strip()]  # fmt: skip
            if blank or found[0] is None:
                lacking[task, f"no text of {' and '.join(blank)}"] += 1
                continue
            pairs.append(pair_of(couple, found[0].question, texts))
    left_out = [LeftOut(task, why, count) for (task, why), count in sorted(lacking.items())]
    return pairs, left_out


def text_of(shown: Shown | None, item: Item, part: str) -> str:
    """Return what a judge is shown of a completion, "" where nothing is known of it.

    Reasoning and answer follow each other without tags: how an arm marks its reasoning is no
    effort.
    """
    text: Text | None = shown.texts.get(item.sample_index) if shown is not None else None
    if text is None:
        return ""
    answer = text.answer_text.strip()
    if part == ANSWER or not text.reasoning.strip():
        return answer
    return f"{text.reasoning.strip()}\n\n{answer}".rstrip()


def pair_of(couple: Couple, question: str, texts: Sequence[str]) -> Pair:
    """Put a pair together."""
    sides = [
        Side(text, bool(item.truncated), speaks_to_judge(text))
        for item, text in zip(couple, texts, strict=True)
    ]
    first = couple[0]
    return Pair(
        task=first.task,
        doc_id=first.doc_id,
        sample_index=first.sample_index,
        name=first.name,
        question=question,
        bucket=bucket_of(couple),
        baseline=sides[0],
        candidate=sides[1],
    )


def bucket_of(couple: Couple) -> str:
    """Say which arm solved the sample."""
    if any(item.score is None for item in couple):
        return UNGRADED
    baseline, candidate = (item.score == 1.0 for item in couple)
    if baseline == candidate:
        return BOTH_CORRECT if baseline else BOTH_WRONG
    return GAINED if candidate else LOST
