"""From sources to a bank: read, deduplicate, number, decontaminate, sample.

Owns the order of these steps and what each takes away. Refuses to own the steps themselves
(`sources`, `dedup`, `strata`, `harness_tasks.decontaminate`) and the report's form (`report`).

An id is given once duplicates are gone, in the order of the sources, and stays: what is found in a
benchmark or not drawn leaves a gap, and another sample of the same bank has the same ids.

Example: `build([source_of("gsm8k=train.jsonl")], Choices())`
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness_tasks.decontaminate import Decontaminator, Hit
from harness_tasks.progress import bar
from training.bank.dedup import NearDuplicates, exact_key, same_answer, same_text
from training.bank.draft import Draft
from training.bank.sources import MAX_CHARS, Read, Source, drafts_of
from training.bank.strata import ALLOCATIONS, draw
from training.records import Question

NEAR = 0.85
EXCERPT_CHARS = 160
# The grader is asked of so many near questions; it knows that 1/2 is 0.5, and takes its time.
MOST_GRADED = 3


@dataclass(frozen=True)
class Choices:
    """What a bank is made with; `near` None leaves near-duplicates in."""

    max_chars: int = MAX_CHARS
    near: float | None = NEAR
    stratify: tuple[str, ...] = ("source",)
    sample: int | None = None
    allocation: Literal["proportional", "equal"] = "proportional"
    seed: int = 0


@dataclass(frozen=True)
class Repeated:
    """A question that an earlier one says already; `similarity` is None for exact duplicates.

    `first` is the number of that one among the bank's questions. The answers stand there where they
    do not agree.
    """

    question: str
    source: str
    level: str | None
    place: str
    first: int
    similarity: float | None
    answer: str | None
    other_answer: str | None


@dataclass
class Bank:
    """What came of the sources, and everything that did not become part of it."""

    sources: list[Source]
    reads: dict[str, Read] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    repeated: list[Repeated] = field(default_factory=list)
    # Near questions with different answers, which both stay: later, earlier, similarity.
    alike: list[tuple[int, int, float]] = field(default_factory=list)
    hits: dict[str, list[Hit]] = field(default_factory=dict)
    strata: dict[str, tuple[int, int]] = field(default_factory=dict)
    sampled: list[Question] = field(default_factory=list)

    @property
    def clean(self) -> list[Question]:
        """Return the questions that stand in no benchmark."""
        return [question for question in self.questions if question.id not in self.hits]


def build(
    sources: Sequence[Source],
    choices: Choices,
    decontaminator: Decontaminator | None = None,
    show_progress: bool = False,
) -> Bank:
    """Make a bank of the sources, in their order; progress goes to stderr where it is shown.

    Raises:
        ValueError: a file that cannot be read, a source without questions, an unknown column to
            stratify by. OSError: a file cannot be opened.
    """
    bank = Bank(list(sources))
    unique: list[Question] = []
    read_all(bank, choices, unique, show_progress)
    stay = without_near(bank, choices, unique, show_progress)
    number(bank, unique, stay)
    if decontaminator is not None:
        decontaminate(bank, decontaminator, show_progress)
    sample(bank, choices)
    return bank


def read_all(bank: Bank, choices: Choices, unique: list[Question], shown: bool) -> None:
    """Read every source, and leave out what an earlier question says already word for word."""
    seen: dict[bytes, int] = {}
    for source in bank.sources:
        read = bank.reads[source.name] = Read()
        with bar(None, f"reading {source.name}", "question", hidden=not shown) as progress:
            for draft, place in drafts_of(source, read, choices.max_chars):
                key = exact_key(draft.question)
                question = question_of(draft, source, place)
                if key in seen:
                    first = seen[key]
                    bank.repeated.append(repeated(question, first, unique[first], None))
                else:
                    seen[key] = len(unique)
                    unique.append(question)
                progress.update()


def question_of(draft: Draft, source: Source, place: str) -> Question:
    """Return a draft as a question; its id comes later, and until then is its place."""
    meta = {**draft.meta, "domain": draft.domain, "row": place}
    return Question(
        id=place,
        question=draft.question,
        answer=draft.answer,
        tests=draft.tests,
        source=draft.source or source.name,
        level=draft.level,
        meta={**meta, "from": source.name} if draft.source else meta,
    )


def origin(question: Question) -> str:
    """Return the name of the source that a question was read from."""
    return str(question.meta.get("from") or question.source)


def repeated(
    question: Question, first: int, earlier: Question, similarity: float | None
) -> Repeated:
    """Note a duplicate, with both answers where they do not agree."""
    one, other = question.answer, earlier.answer
    agree = one is None or other is None or same_answer(one, other)
    return Repeated(
        question=" ".join(question.question.split())[:EXCERPT_CHARS],
        source=origin(question),
        level=question.level,
        place=question.id,
        first=first,
        similarity=similarity,
        answer=None if agree else one,
        other_answer=None if agree else other,
    )


def without_near(bank: Bank, choices: Choices, unique: list[Question], shown: bool) -> list[int]:
    """Return which questions stay, by place, and note those that nearly repeat an earlier one.

    A near question with another answer is another question (two that share a long introduction, or
    one with another number in it): it stays, and is noted too.
    """
    if choices.near is None:
        return list(range(len(unique)))
    finder = NearDuplicates(choices.near)
    stay = []
    with bar(len(unique), "near-duplicates", "question", hidden=not shown) as progress:
        for place, question in enumerate(unique):
            near = finder.near(question.question)
            same = first_agreeing(question, near, unique)
            if same is not None:
                bank.repeated.append(repeated(question, same[0], unique[same[0]], same[1]))
            else:
                stay.append(place)
                finder.add(place, question.question)
                if near:
                    bank.alike.append((place, *near[0]))
            progress.update()
    return stay


def first_agreeing(
    question: Question, near: Sequence[tuple[int, float]], unique: Sequence[Question]
) -> tuple[int, float] | None:
    """Return the first near question with the same answer; tests are not compared."""
    for n_graded, (other, similarity) in enumerate(near):
        one, answer = question.answer, unique[other].answer
        if one is None or answer is None:
            if one is answer:  # both have tests
                return other, similarity
            continue
        agree = same_answer(one, answer) if n_graded < MOST_GRADED else same_text(one, answer)
        if agree:
            return other, similarity
    return None


def number(bank: Bank, unique: Sequence[Question], stay: Sequence[int]) -> None:
    """Give ids like `math-q-00001`, counted by domain, and let duplicates point to what stayed."""
    counts: Counter[str] = Counter()
    place_of: dict[int, int] = {}
    for place in stay:
        question = unique[place]
        domain = prefix(question.meta["domain"])
        counts[domain] += 1
        place_of[place] = len(bank.questions)
        bank.questions.append(replace(question, id=f"{domain}-q-{counts[domain]:05d}"))
    bank.alike = [(place_of[one], place_of[other], value) for one, other, value in bank.alike]
    went = {id(note): note.first for note in bank.repeated}
    nearer = {note.place: note.first for note in bank.repeated if note.similarity is not None}
    settled = []
    for note in bank.repeated:
        first = went[id(note)]
        while first not in place_of:  # an exact duplicate of what is itself nearly an earlier one
            first = nearer[unique[first].id]
        settled.append(replace(note, first=place_of[first]))
    bank.repeated = settled


def prefix(domain: Any) -> str:
    """Return a domain as the first part of an id: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", str(domain).casefold()).strip("-") or "other"


def decontaminate(bank: Bank, decontaminator: Decontaminator, shown: bool) -> None:
    """Find the questions that stand in a benchmark."""
    texts = (question.question for question in bank.questions)
    with bar(len(bank.questions), "decontamination", "question", hidden=not shown) as progress:
        found = decontaminator.hits_of(texts)
        for question, hits in zip(bank.questions, found, strict=True):
            if hits:
                bank.hits[question.id] = hits
            progress.update()


def sample(bank: Bank, choices: Choices) -> None:
    """Draw the sample by strata; without a size everything that is clean is taken."""
    clean = bank.clean
    members: dict[str, list[int]] = {}
    for place, question in enumerate(clean):
        members.setdefault(stratum(question, choices.stratify), []).append(place)
    check_columns(clean, choices.stratify)
    members = dict(sorted(members.items()))
    sizes = {group: len(numbers) for group, numbers in members.items()}
    n = len(clean) if choices.sample is None else choices.sample
    counts = ALLOCATIONS[choices.allocation](sizes, n)
    bank.strata = {group: (sizes[group], counts[group]) for group in members}
    bank.sampled = [clean[place] for place in draw(members, counts, choices.seed)]


def column_of(question: Question, column: str) -> Any:
    """Return a field of a question, or of its meta; `meta.x` is meta's x whatever else has it."""
    if column.startswith("meta."):
        return question.meta.get(column.removeprefix("meta."))
    if column in ("source", "level"):
        return getattr(question, column)
    return question.meta.get(column)


def stratum(question: Question, columns: Sequence[str]) -> str:
    """Return the name of a question's stratum; a column without a value counts as `none`."""
    values = [column_of(question, column) for column in columns]
    return " | ".join(
        "none" if v is None else v if isinstance(v, str) else json.dumps(v, sort_keys=True)
        for v in values
    )


def check_columns(questions: Sequence[Question], columns: Sequence[str]) -> None:
    """Check that each column means something.

    Raises:
        ValueError: no question has a value in one of them; lists what there is.
    """
    for column in columns:
        if questions and all(column_of(question, column) is None for question in questions):
            there = {name for question in questions for name in question.meta}
            known = ", ".join(["source", "level", *sorted(there)])
            raise ValueError(
                f"--stratify {column}: no question has a value there; columns are {known}"
            )
