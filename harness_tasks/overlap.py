"""Which benchmark questions a text repeats, word by word: long shared runs, without boilerplate.

Owns the index of n-grams and the rule that makes shared words a hit. Refuses to own what is
compared as words (`wording`) and which benchmarks there are (`harness_tasks.decontaminate`).

A run of n words (13 by default) that a text shares with a benchmark question is not yet a leak:
"where m and n are relatively prime positive integers. Find m + n" stands in dozens of unlike
questions. So a question's words count as distinctive unless they stand in a run of five words that
a second question of the benchmarks has too, and a text repeats a question where the shared runs
hold

- four fifths of the question's words; or
- 1.5 n distinctive words (20); or
- n distinctive words that are half of the question.

Example:
    index = Overlap([["how", "many", ...]])
    index.shared(index.matched(["say", "how", "many", ...]))
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

N_WORDS = 13
# Runs of this many words that two questions have are boilerplate; so short that a phrase with one
# number changed in it is still known as the phrase.
PHRASE_WORDS = 5
WHOLE_SHARE = 0.8
HALF = 0.5
LONG_RUN = 1.5
# A run of mere numbers (a sample input, a figure's coordinates) says nothing.
LETTERED_WORDS = 3
# A run that stands in more questions than this is not looked up: it is boilerplate for certain.
MOST_QUESTIONS = 25
SEVERAL = -1


class Shared(NamedTuple):
    """What a text and one question share: which question, how much of it, the longest run."""

    question: int
    share: float
    run: str


class Overlap:
    """An index of the n-grams of questions.

    `same` names for each question what it is a text of; two texts of one thing make no phrase of
    theirs boilerplate, nor do two questions of which one holds four fifths of the other.
    """

    def __init__(
        self,
        questions: Sequence[Sequence[str]],
        n_words: int = N_WORDS,
        same: Sequence[int] | None = None,
    ) -> None:
        self.n_words = n_words
        self.questions = questions
        self.places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for number, question in enumerate(questions):
            lettered = {word for word in question if word.isalpha()}
            for start, gram in enumerate(self.grams(question)):
                if len(lettered.intersection(gram)) >= LETTERED_WORDS:
                    self.places[hash(gram)].append((number, start))
        for gram_hash, places in list(self.places.items()):
            if len(places) > MOST_QUESTIONS < len({number for number, _ in places}):
                del self.places[gram_hash]
        kin = list(range(len(questions)) if same is None else same)
        self.common = common_phrases(questions, self.with_siblings(kin))

    def grams(self, text: Sequence[str]) -> Iterable[tuple[str, ...]]:
        """Return the n-grams of a text in order."""
        return runs(text, self.n_words)

    def unindexed(self) -> list[int]:
        """Return the questions that no n-gram of theirs leads to: too short, or mere numbers."""
        found = {number for places in self.places.values() for number, _ in places}
        return [number for number in range(len(self.questions)) if number not in found]

    def matched(self, text: Sequence[str]) -> dict[int, set[int]]:
        """Return where in which questions the runs start that a text shares with them."""
        matched: dict[int, set[int]] = defaultdict(set)
        for gram in self.grams(text):
            for number, start in self.places.get(hash(gram), ()):
                matched[number].add(start)
        return matched

    def shared(self, matched: dict[int, set[int]]) -> list[Shared]:
        """Return the questions that a text repeats, the most repeated first."""
        hits = [hit for number, starts in matched.items() if (hit := self.judged(number, starts))]
        return sorted(hits, key=lambda hit: (-hit.share, hit.question))

    def with_siblings(self, kin: list[int]) -> list[int]:
        """Put questions that nearly hold one another into one family, by their lowest number."""
        for number, question in enumerate(self.questions):
            for other, starts in self.matched(question).items():
                if other == number:
                    continue
                share = len(self.covered(starts)) / len(self.questions[other])
                if share >= WHOLE_SHARE and family(kin, other) != family(kin, number):
                    low, high = sorted((family(kin, other), family(kin, number)))
                    kin[high] = low
        return [family(kin, number) for number in range(len(kin))]

    def covered(self, starts: Iterable[int]) -> set[int]:
        """Return the places of the words that runs beginning there hold."""
        return {place for start in starts for place in range(start, start + self.n_words)}

    def judged(self, number: int, starts: set[int]) -> Shared | None:
        """Return what is shared with a question if it is a leak, given where shared runs start."""
        question = self.questions[number]
        covered = self.covered(starts)
        distinctive = len(covered) - sum(self.common[number][place] for place in covered)
        share = len(covered) / len(question)
        if (
            share >= WHOLE_SHARE
            or distinctive >= LONG_RUN * self.n_words
            or (distinctive >= self.n_words and distinctive >= HALF * len(question))
        ):
            first, last = longest_run(covered)
            return Shared(number, share, " ".join(question[first : last + 1]))
        return None


def runs(text: Sequence[str], n_words: int) -> Iterable[tuple[str, ...]]:
    """Return every run of so many words, in order."""
    return zip(*(text[start:] for start in range(n_words)), strict=False)


def family(kin: list[int], number: int) -> int:
    """Return the lowest number of a question's family."""
    while kin[number] != number:
        number = kin[number]
    return number


def common_phrases(questions: Sequence[Sequence[str]], kin: Sequence[int]) -> list[bytearray]:
    """Return for each word of each question whether it stands in another family's phrase too."""
    owner: dict[int, int] = {}
    for number, question in enumerate(questions):
        for phrase in runs(question, PHRASE_WORDS):
            first = owner.setdefault(hash(phrase), kin[number])
            if first != kin[number]:
                owner[hash(phrase)] = SEVERAL
    marked = []
    for question in questions:
        flags = bytearray(len(question))
        for start, phrase in enumerate(runs(question, PHRASE_WORDS)):
            if owner[hash(phrase)] == SEVERAL:
                flags[start : start + PHRASE_WORDS] = b"\x01" * PHRASE_WORDS
        marked.append(flags)
    return marked


def longest_run(places: set[int]) -> tuple[int, int]:
    """Return the first and last of the longest row of places without a gap; the first such row."""
    best = (0, -1)
    for start in sorted(place for place in places if place - 1 not in places):
        end = start
        while end + 1 in places:
            end += 1
        if end - start > best[1] - best[0]:
            best = (start, end)
    return best
