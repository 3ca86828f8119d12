"""Repeated samples: avg@k, pass@k, maj@k and G-Pass@k of both arms, paired by question.

Owns which k are shown, and how a question's samples become one value. Refuses to own the estimators
(`stats.pass_at_k`) and when two answers are the same (`reading.question`).

    repeats(comparison, TableOptions()).column("measure")       # ["avg@4", "pass@1", "pass@2", ...]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.compare import Comparison
from analysis.estimate import NAN, undefined
from analysis.stats import cluster, pass_at_k
from analysis.tables.catalogue import TableOptions
from analysis.tables.couples import Couple, by_task, generator, number_of, scored
from analysis.tables.table import Cell, Column, Kind, Table

TAUS = (0.5, 1.0)  # the shares of k samples that G-Pass@k asks for
COLUMNS = (
    Column("task", "task"),
    Column("measure", "measure"),
    Column("n", "n", Kind.COUNT),
    Column("baseline", "baseline", Kind.PERCENT),
    Column("candidate", "candidate", Kind.PERCENT),
    Column("difference", "difference", Kind.POINTS),
    Column("p", "p", Kind.P),
)
FOOT = (
    "n: questions with k graded samples in both arms. pass@k: unbiased, any of k is right. maj@k: "
    "the most frequent answer, its forms as the grader told them apart; ties give the mean score "
    "of the tied answers, an empty answer has no vote. G-Pass@k, t: at least the share t of k is "
    "right; mG-Pass@k: mean over t above one half. Question bootstrap 95%; p: sign-flip "
    "permutation of questions, unadjusted."
)
EMPTY = "every question has one sample: with k = 1 all of these are the score itself"


class Arm(NamedTuple):
    """One arm's graded samples of one question."""

    scores: list[float]
    ballots: list[str | None]


Arms = list[Arm]  # of each question
Values = Callable[[Arms], NDArray[np.float64]]


def repeats(comparison: Comparison, options: TableOptions) -> Table:
    """Return every measure of repeated samples, for the tasks that have some."""
    del options
    rows: list[tuple[Cell, ...]] = []
    notes: list[str] = []
    couples = by_task(comparison)
    for task in comparison.tasks:
        if task.k < 2:
            continue
        questions = by_question(couples[task.task])
        rng = generator(comparison, task.task, number_of("repeats"))
        for measure, values in measures(questions, task.k):
            rows.append((task.task, measure, *figures(questions, values, rng)))
        if not binary(questions):
            notes.append(f"{task.task}: scores between 0 and 1 have avg@k only")
        elif not told(questions):
            notes.append(f"{task.task}: no answers were extracted, so there is no maj@k")
    return Table(
        "repeats", "Repeated samples", COLUMNS, rows, FOOT, tuple(notes), "" if rows else EMPTY
    )


def by_question(couples: Sequence[Couple]) -> tuple[Arms, Arms]:
    """Return both arms' samples of each question, those graded in both."""
    found: dict[int | str, tuple[Arm, Arm]] = {}
    for couple in scored(couples):
        arms = found.setdefault(couple[0].doc_id, (Arm([], []), Arm([], [])))
        for arm, item in zip(arms, couple, strict=True):
            arm.scores.append(item.score or 0.0)
            arm.ballots.append(item.ballot)
    return [base for base, _ in found.values()], [cand for _, cand in found.values()]


def binary(questions: tuple[Arms, Arms]) -> bool:
    """Say whether every score is 0 or 1."""
    return all(score in (0.0, 1.0) for arms in questions for arm in arms for score in arm.scores)


def told(questions: tuple[Arms, Arms]) -> bool:
    """Say whether both arms have answers to vote with."""
    return all(any(ballot for arm in arms for ballot in arm.ballots) for arms in questions)


def measures(questions: tuple[Arms, Arms], k: int) -> Iterator[tuple[str, Values]]:
    """Yield the measures that the samples allow, with how the questions' values are made."""
    yield f"avg@{k}", counted(lambda n, c: pass_at_k.avg_at_k(n, c, k))
    if not binary(questions):
        return
    for size in sizes(k):
        yield f"pass@{size}", counted(partial(pass_at_k.pass_at_k, k=size))
    if told(questions):
        yield f"maj@{k}", partial(majorities, k=k)
    for tau in TAUS:
        yield f"G-Pass@{k}, t={tau:g}", counted(partial(pass_at_k.g_pass_at_k, k=k, tau=tau))
    yield f"mG-Pass@{k}", counted(partial(pass_at_k.mean_g_pass_at_k, k=k))


def sizes(k: int) -> list[int]:
    """Return 1, 2, 4, ... up to k, and k itself.

    >>> sizes(6)
    [1, 2, 4, 6]
    """
    return sorted({*(2**power for power in range(k.bit_length())), k})


def counted(value: Callable[[list[int], list[float]], NDArray[np.float64]]) -> Values:
    """Return a measure of how many samples of each question are right."""
    return lambda arms: np.asarray(
        value([len(arm.scores) for arm in arms], [sum(arm.scores) for arm in arms])
    )


def majorities(arms: Arms, k: int) -> NDArray[np.float64]:
    """Return the majority's score over k samples of each question, NaN where it has fewer."""
    return np.array([pass_at_k.maj_at_k(arm.ballots, arm.scores, k) for arm in arms])


def figures(
    questions: tuple[Arms, Arms], values: Values, rng: np.random.Generator
) -> tuple[Cell, ...]:
    """Return n, both means, the difference and its p, over the questions with a value in both."""
    base, cand = (values(arms) for arms in questions)
    known = ~(np.isnan(base) | np.isnan(cand))
    if not known.any():
        nothing = undefined("no question has so many graded samples in both arms")
        return (0, nothing, nothing, nothing, NAN)
    means = [cluster.bootstrap_mean(arm[known], rng) for arm in (base, cand)]
    differences = (cand - base)[known]
    difference = cluster.bootstrap_difference(differences, rng)
    return (int(known.sum()), *means, difference, cluster.sign_flip_p(differences, rng))
