"""Question by question: what each arm made of it, and the questions that only one arm solved.

Owns the tables of single questions. Refuses to own texts (`reading.texts`): targets and answers are
cut to a line here.

    flips(comparison, TableOptions()).column("name")     # ["2024-I-13", "2024-I-15", ...]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from analysis.compare import Comparison
from analysis.items import Item
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, by_task, short
from analysis.tables.table import Cell, Column, Kind, Table
from analysis.tables.truncation import PARTLY, outcome

ONLY_BASELINE, ONLY_CANDIDATE = "only baseline", "only candidate"
HIGHER_BASELINE, HIGHER_CANDIDATE = "more often baseline", "more often candidate"
FLIPS = (
    Column("task", "task"),
    Column("solved_by", "solved by"),
    Column("doc_id", "doc"),
    Column("name", "name"),
    Column("baseline_outcome", "baseline"),
    Column("candidate_outcome", "candidate"),
    Column("target", "target"),
    Column("baseline_answer", "baseline's answer"),
    Column("candidate_answer", "candidate's answer"),
)
QUESTIONS = (
    Column("task", "task"),
    Column("doc_id", "doc"),
    Column("name", "name"),
    Column("target", "target"),
    Column("k", "k", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("baseline_verdict", "baseline's verdict"),
    Column("candidate_verdict", "candidate's verdict"),
    Column("baseline_answer", "baseline's answer"),
    Column("candidate_answer", "candidate's answer"),
    Column("baseline_tokens", "tokens base", Kind.NUMBER),
    Column("candidate_tokens", "tokens cand", Kind.NUMBER),
    Column("baseline_reasoning_chars", "reasoning base", Kind.NUMBER),
    Column("candidate_reasoning_chars", "reasoning cand", Kind.NUMBER),
)


class Question(NamedTuple):
    """One question with its paired samples."""

    task: str
    samples: list[Couple]

    def items(self, arm: int) -> list[Item]:
        """Return the samples of one arm (0 baseline, 1 candidate)."""
        return [couple[arm] for couple in self.samples]

    def score(self, arm: int) -> float | None:
        """Return the mean score of an arm over the samples graded in both, None without any."""
        graded = [c for c in self.samples if c[0].score is not None and c[1].score is not None]
        scores = [couple[arm].score or 0.0 for couple in graded]
        return sum(scores) / len(scores) if scores else None


def by_question(comparison: Comparison) -> Iterator[Question]:
    """Yield every question of every task, in the order of the samples file."""
    for task, couples in by_task(comparison).items():
        samples: dict[int | str, list[Couple]] = {}
        for couple in couples:
            samples.setdefault(couple[0].doc_id, []).append(couple)
        for group in samples.values():
            yield Question(task, group)


def flips(comparison: Comparison, options: TableOptions) -> Table:
    """Return the questions that one arm alone solved, or solved more often."""
    del options
    found = [(solved_by(question), question) for question in by_question(comparison)]
    order = {one: number for number, one in enumerate((*SINGLE, *REPEATED))}
    tasks = [task.task for task in comparison.tasks]
    listed = sorted(
        ((by, question) for by, question in found if by),
        key=lambda pair: (tasks.index(pair[1].task), order[pair[0]]),
    )
    rows: list[tuple[Cell, ...]] = []
    for by, question in listed:
        first = question.samples[0][0]
        ended = (outcomes(question, 0), outcomes(question, 1))
        told = (short(first.target), answers(question, 0), answers(question, 1))
        rows.append((question.task, by, str(first.doc_id), first.name, *ended, *told))
    return Table(
        "flips",
        "Questions that one arm alone solved",
        FLIPS,
        rows,
        foot=flips_foot(comparison, [by for by, _ in listed]),
        empty="" if rows else "both arms solved the same questions",
    )


SINGLE, REPEATED = (ONLY_CANDIDATE, ONLY_BASELINE), (HIGHER_CANDIDATE, HIGHER_BASELINE)


def solved_by(question: Question) -> str:
    """Say which arm alone solved a question, or solved it more often; "" where neither did."""
    base, cand = question.score(0), question.score(1)
    if base is None or cand is None or base == cand:
        return ""
    names = SINGLE if min(base, cand) == 0.0 and max(base, cand) == 1.0 else REPEATED
    return names[0] if cand > base else names[1]


def flips_foot(comparison: Comparison, found: list[str]) -> str:
    """Say how many there are of each kind."""
    counts = [f"{one} {found.count(one)}" for one in (*SINGLE, *REPEATED) if one in found]
    questions = sum(task.n_pairs for task in comparison.tasks)
    told = f"Of {questions:,} questions graded in both arms: {', '.join(counts) or 'none'}. "
    return told + "Baseline, candidate: what became of their samples."


def questions(comparison: Comparison, options: TableOptions) -> Table:
    """Return every question with what both arms made of it."""
    del options
    rows: list[tuple[Cell, ...]] = []
    for question in by_question(comparison):
        first = question.samples[0][0]
        rows.append(
            (
                question.task,
                str(first.doc_id),
                first.name,
                short(first.target),
                len(question.samples),
                question.score(0),
                question.score(1),
                verdicts(question, 0),
                verdicts(question, 1),
                answers(question, 0),
                answers(question, 1),
                mean_size([item.completion_tokens for item in question.items(0)]),
                mean_size([item.completion_tokens for item in question.items(1)]),
                mean_size([item.reasoning_chars for item in question.items(0)]),
                mean_size([item.reasoning_chars for item in question.items(1)]),
            )
        )
    return Table(
        "questions",
        "Question by question",
        QUESTIONS,
        rows,
        foot=(
            "Scores in %, over the samples that both arms have graded; sizes are means over the "
            "samples whose size is known."
        ),
    )


def verdicts(question: Question, arm: int) -> str | None:
    """Return the verdict of a sample, or how often each was given; None for a part score."""
    if len(question.samples) == 1:
        return question.samples[0][arm].verdict
    return tally([item.verdict or PARTLY for item in question.items(arm)])


def outcomes(question: Question, arm: int) -> str:
    """Return what became of a sample, as the table of transitions counts it, or of several."""
    return tally([outcome(item) for item in question.items(arm)])


def tally(told: list[str]) -> str:
    """Return one word, or how often each was said.

    >>> tally(["right", "wrong", "right"])
    'right 2, wrong 1'
    """
    if len(told) == 1:
        return told[0]
    return ", ".join(f"{one} {told.count(one)}" for one in dict.fromkeys(told))


def answers(question: Question, arm: int) -> str | None:
    """Return the answer of a sample, or each distinct one with how often it was given."""
    told = [item.answer for item in question.items(arm)]
    known = [one.strip() for one in told if one is not None]
    if len(told) == 1 or not known:
        return short(told[0])
    counts = {one: known.count(one) for one in dict.fromkeys(known)}
    ranked = sorted(counts.items(), key=lambda pair: -pair[1])
    return short(", ".join(f"{short(one, 20)} ({count})" for one, count in ranked))


def mean_size(sizes: list[int | None]) -> float | None:
    """Return the mean of the known sizes, None where none is known."""
    known = [one for one in sizes if one is not None]
    return sum(known) / len(known) if known else None
